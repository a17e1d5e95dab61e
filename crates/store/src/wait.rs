//! [`wait`]: a future to its end, in code that is not asynchronous.

/// Runs a future on this thread until it ends; for what only waits for the disk.
///
/// Tokio gives a task a budget of steps and gets it back when the task returns. A thread that blocks inside a task never returns, so without
/// an exception the future would be told to come back for ever once the budget is used up.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(tokio::task::unconstrained(future))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_task_can_wait_more_often_than_its_budget_allows() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let waited = runtime.block_on(async {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            (0..1_000).for_each(|number| sender.send(number).unwrap());
            // All of it in one step of this task.
            (0..1_000).filter(|number| super::wait(receiver.recv()) == Some(*number)).count()
        });
        assert_eq!(waited, 1_000);
    }
}

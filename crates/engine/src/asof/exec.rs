//! The as-of join as a physical operator: asks for its inputs partitioned by key and sorted, and merges them partition by partition.

use super::merge::Merge;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, plan_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PlanProperties, SendableRecordBatchStream,
};
use std::fmt;
use std::sync::Arc;

/// What an as-of join matches on; expressions over the left or the right input.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) keys: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    pub(crate) left_time: Arc<dyn PhysicalExpr>,
    pub(crate) right_time: Arc<dyn PhysicalExpr>,
    pub(crate) visible_at: Arc<dyn PhysicalExpr>,
    /// How old a match may be, in the unit of the times.
    pub(crate) ttl: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct AsOfExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    on: Match,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// Both inputs in the order in which they are merged: nulls first, ascending; `merge` compares rows in this order.
pub(crate) const ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

impl AsOfExec {
    pub(crate) fn new(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        on: Match,
        schema: SchemaRef,
    ) -> Result<Self> {
        // The left rows come out in the left input's order, and left columns keep their places: its orderings hold on.
        let orderings: Vec<Vec<PhysicalSortExpr>> = left
            .equivalence_properties()
            .oeq_class()
            .iter()
            .map(|ordering| ordering.iter().cloned().collect())
            .collect();
        let equivalence = EquivalenceProperties::new_with_orderings(schema.clone(), orderings);
        let properties = PlanProperties::new(
            equivalence,
            left.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(AsOfExec {
            left,
            right,
            on,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    fn ordering(exprs: impl Iterator<Item = Arc<dyn PhysicalExpr>>) -> Option<OrderingRequirements> {
        LexOrdering::new(exprs.map(|expr| PhysicalSortExpr::new(expr, ORDER))).map(OrderingRequirements::from)
    }
}

impl DisplayAs for AsOfExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let keys = self.on.keys.iter().map(|(left, right)| format!("{left} = {right}")).collect::<Vec<_>>();
        write!(f, "AsOfExec: {} >= {} on [{}]", self.on.left_time, self.on.visible_at, keys.join(", "))
    }
}

impl ExecutionPlan for AsOfExec {
    fn name(&self) -> &str {
        "AsOfExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        if self.on.keys.is_empty() {
            return InputDistributionRequirements::new(vec![Distribution::SinglePartition; 2]);
        }
        let (left, right) = self.on.keys.iter().cloned().unzip();
        InputDistributionRequirements::co_partitioned(vec![
            Distribution::KeyPartitioned(left),
            Distribution::KeyPartitioned(right),
        ])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let left = self.on.keys.iter().map(|(left, _)| left.clone()).chain([self.on.left_time.clone()]);
        let right = self.on.keys.iter().map(|(_, right)| right.clone()).chain([self.on.visible_at.clone()]);
        vec![Self::ordering(left), Self::ordering(right)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        // The left rows do come out in their order, and `properties` says so. Said here, the optimizer would sort the input as what is above
        // wants it, and not as this operator does.
        vec![false, false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([left, right]) = <[Arc<dyn ExecutionPlan>; 2]>::try_from(children) else {
            return plan_err!("an as-of join has two inputs");
        };
        Ok(Arc::new(AsOfExec::new(left, right, self.on.clone(), self.schema.clone())?))
    }

    #[allow(deprecated)]
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([left, right]) = <[Arc<dyn ExecutionPlan>; 2]>::try_from(children) else {
            return plan_err!("an as-of join has two inputs");
        };
        Ok(Arc::new(AsOfExec::new(left, right, self.on.clone(), self.schema.clone())?))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let keys = self.on.keys.iter().flat_map(|(left, right)| [left, right]);
        let times = [&self.on.left_time, &self.on.right_time, &self.on.visible_at];
        for expr in keys.chain(times) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let left = self.left.execute(partition, context.clone())?;
        let reservation = MemoryConsumer::new(format!("AsOfJoin[{partition}]")).register(context.memory_pool());
        let right = self.right.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let merge = Merge::new(left, right, self.on.clone(), self.schema.clone(), reservation)?;
        let stream = futures::stream::try_unfold((merge, metrics), |(mut merge, metrics)| async move {
            let batch = merge.next_batch().await?;
            Ok(batch.map(|batch| {
                metrics.record_output(batch.num_rows());
                (batch, (merge, metrics))
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

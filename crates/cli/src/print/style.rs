//! Colour, by the few ANSI sequences that every terminal knows.

/// Whether to colour; every method gives the text as it is when not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// Whether to colour.
    pub(crate) on: bool,
}

macro_rules! paints {
    ($($(#[$doc:meta])* $name:ident $code:literal)*) => {
        impl Style {
            $($(#[$doc])* pub(crate) fn $name(self, text: &str) -> String {
                if self.on && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", $code) } else { text.to_string() }
            })*
        }
    };
}

paints! {
    /// Mistakes.
    red "1;31"
    /// Warnings.
    yellow "1;33"
    /// What went well.
    green "32"
    /// Places and hints.
    cyan "36"
    /// What matters.
    bold "1"
    /// What does not.
    dim "2"
}

impl Style {
    /// The colour of what a run or a plan does with a node.
    pub(crate) fn action(self, action: &str, text: &str) -> String {
        match action {
            "built" | "build" | "published" | "restored" => self.green(text),
            "failed" | "fail" => self.red(text),
            "held" | "withheld" | "withhold" | "removed" | "remove" => self.yellow(text),
            "skipped" | "skip" | "reused" | "reuse" => self.dim(text),
            _ => text.to_string(),
        }
    }
}

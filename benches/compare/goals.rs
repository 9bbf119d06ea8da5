//! What is to be reached, and what was.

use crate::figures::table;

/// All goals that were measured in this run.
#[derive(Default)]
pub(crate) struct Goals(Vec<Vec<String>>);

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Goals {
    /// Notes what was reached of a goal.
    pub(crate) fn note(&mut self, measure: &str, reached: f64, goal: Goal) {
        let (is_reached, sign, wanted) = match goal {
            Goal::AtLeast(wanted) => (reached >= wanted, "≥", wanted),
            Goal::AtMost(wanted) => (reached <= wanted, "≤", wanted),
            Goal::Below(wanted) => (reached < wanted, "<", wanted),
        };
        let met = if is_reached { "yes" } else { "NO" };
        let cells = [measure, &format!("{reached:.2}"), &format!("{sign} {wanted}"), met];
        self.0.push(cells.map(str::to_owned).to_vec());
    }

    /// Prints them, if there are any.
    pub(crate) fn print(&self) {
        if !self.0.is_empty() {
            println!("The goals: medians of ratios within a round, unless a unit is named\n");
            table(&["MEASURE", "HERE", "GOAL", "MET"], &self.0);
        }
    }
}

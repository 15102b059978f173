//! What the tool says: the same words for the same question, and no model anywhere.

/// The most words of somebody else that are said again.
const QUOTED_MAX: usize = 30;

/// What the tool can be asked to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    ReadLogs,
    ReadMetrics,
    FindCause,
    WriteReport,
    CheckReport,
}

/// The words of an answer, one token each. `heard` is what the steps before have said, in the order
/// of the graph.
pub fn said(task: Task, heard: &[String]) -> Vec<String> {
    let one = |at: usize| quoted(heard.get(at).map_or("nothing", String::as_str));
    let text = match task {
        Task::ReadLogs => {
            "from noon on the queue of the checkout grew and every second order timed out".into()
        }
        Task::ReadMetrics => {
            "the database answered in nine hundred milliseconds instead of forty".into()
        }
        Task::FindCause => format!("The database was slow: {}. So {}.", one(1), one(0)),
        Task::WriteReport => {
            format!("Report. {} The person in charge was asked and said: {}", one(0), one(1))
        }
        Task::CheckReport => {
            let words = heard.first().map_or(0, |report| report.split_whitespace().count());
            format!("The report has {words} words, names a cause and quotes the person in charge.")
        }
    };
    text.split_whitespace().map(Into::into).collect()
}

fn quoted(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(QUOTED_MAX).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_made_of_what_was_heard_and_no_longer_than_that_allows() {
        let heard = ["a cause.".to_owned(), "yes ".repeat(1_000)];
        let words = said(Task::WriteReport, &heard);
        assert_eq!(words, said(Task::WriteReport, &heard));
        assert_eq!(words.iter().filter(|word| *word == "yes").count(), QUOTED_MAX);
        assert!(words.join(" ").starts_with("Report. a cause. The person"));
        assert!(!said(Task::FindCause, &[]).is_empty());
    }
}

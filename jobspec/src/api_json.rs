//! Jobs in the JSON of the HTTP API.

use orch_hcl::{Diagnostic, Diagnostics, Source, Span};
use orch_model::Job;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "Job")]
    job: Job,
}

/// Reads a job in the API's JSON, bare or wrapped as `{"Job": {..}}`.
///
/// # Errors
///
/// The first thing that is no JSON or does not fit its field, with its place.
pub fn parse_api_json(source: &Source) -> Result<Job, Diagnostics> {
    let at_start = |message: &str| Diagnostic::error(source, Span::new(0, 1), message);
    let value: Value = serde_json::from_str(source.text()).map_err(|error| located(source, &error))?;
    let Some(object) = value.as_object() else {
        return Err(at_start("a job is a JSON object, bare or as {\"Job\": {..}}").into());
    };
    if object.contains_key("Job") {
        let request: Request = serde_json::from_str(source.text()).map_err(|error| located(source, &error))?;
        return Ok(request.job);
    }
    if object.contains_key("job") {
        let help = "leave -json away: that spelling is recognised by itself";
        return Err(at_start("this is a job in the JSON spelling of HCL, not in the API's JSON")
            .with_help(help)
            .into());
    }
    serde_json::from_str(source.text()).map_err(|error| located(source, &error).into())
}

fn located(source: &Source, error: &serde_json::Error) -> Diagnostic {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let before: usize = source.text().split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = before + error.column().saturating_sub(1);
    Diagnostic::error(source, Span::new(at, at + 1), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Job, String> {
        parse_api_json(&Source::new("j.json", text)).map_err(|diagnostics| diagnostics.to_vec()[0].summary())
    }

    #[test]
    fn a_job_may_be_bare_or_wrapped() {
        assert_eq!(parse(r#"{"ID": "a"}"#).unwrap().id.as_str(), "a");
        assert_eq!(parse(r#"{"Job": {"ID": "a"}, "EnforceIndex": true}"#).unwrap().id.as_str(), "a");
    }

    #[test]
    fn a_wrong_value_is_located() {
        let message = parse("{\n \"ID\": \"a\",\n \"Priority\": \"high\"\n}").unwrap_err();
        assert!(message.starts_with("j.json:3:") && message.contains("string \"high\""), "{message}");
        let message = parse("{\n \"ID\": \n}").unwrap_err();
        assert!(message.starts_with("j.json:3:1: error: expected value"), "{message}");
        assert!(parse(r#"{"job": {"a": {}}}"#).unwrap_err().contains("JSON spelling of HCL"));
        assert!(parse("[]").unwrap_err().contains("a job is a JSON object"));
    }
}

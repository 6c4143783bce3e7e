//! What is asked before anything is started.

use super::Program;
use super::bench::{Bench, Checked, ensure, within};
use crate::driver::Health;
use crate::error::Error;

pub(super) async fn every_driver_tells_its_name_and_works_here(bench: &mut Bench<'_>) -> Checked {
    let name = bench.driver().name();
    ensure!(!name.is_empty(), "the name is empty");
    let fingerprint = bench.driver().fingerprint().await;
    ensure!(fingerprint.health == Health::Healthy, "where it is checked it should work, but says {fingerprint:?}");
    let attribute = format!("driver.{name}");
    let value = fingerprint.attributes.get(&attribute).map(String::as_str);
    ensure!(value == Some("1"), "attribute {attribute} should be \"1\", but is {value:?}");
    Ok(())
}

pub(super) async fn mistakes_in_the_config_name_their_key(bench: &mut Bench<'_>) -> Checked {
    let mut wrong = bench.fixture().invalid_configs();
    let mut unknown = bench.config(&Program::Forever)?;
    unknown.insert("no_such_key".to_owned(), serde_json::Value::from(1));
    wrong.push((unknown, "no_such_key"));
    for (config, key) in wrong {
        let answer = bench.driver().validate(&config);
        ensure!(
            matches!(&answer, Err(Error::InvalidConfig { message }) if message.contains(key)),
            "validate should refuse {config:?} and name {key}, but answered {answer:?}"
        );
        let mut spec = bench.spec(&Program::Forever)?;
        spec.config = config;
        let id = spec.id.clone();
        let answer = bench.driver().start(spec).await;
        ensure!(
            matches!(&answer, Err(Error::InvalidConfig { message }) if message.contains(key)),
            "start should refuse the same and name {key}, but answered {answer:?}"
        );
        ensure!(!bench.is_listed(&id).await?, "a task that was refused for {key} is listed");
    }
    Ok(())
}

pub(super) async fn a_valid_config_is_accepted(bench: &mut Bench<'_>) -> Checked {
    for program in [Program::Forever, Program::Exit(0)] {
        let config = bench.config(&program)?;
        within("validate", async { bench.driver().validate(&config) }).await?;
    }
    Ok(())
}

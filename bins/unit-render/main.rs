//! unit-render: a unit's text on stdout.

use std::process::ExitCode;

use serde_json::json;
use upswap::report::{self, Answer};
use upswap::steps::unit;
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};

mod args;

fn main() -> ExitCode {
    report::run("unit-render", work)
}

fn work(args: args::Args, say: &Say) -> Result<Answer, Stop> {
    let args::Args { like, template, set, command, .. } = args;
    let host = Host::from_env();
    let rendered = match &template {
        Some(template) => unit::from_template(&host, template, &set, say)?,
        None => unit::from_program(&host, &command, like.as_ref(), say)?,
    };
    let json = json!({ "unit": String::from_utf8_lossy(&rendered.text), "from": rendered.from });
    Ok(Answer::product(Exit::Done).text(rendered.text).json(json))
}

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
    report::run("unit-render", |args, say| work(&args, say))
}

fn work(args: &args::Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env();
    if args.builtin.is_none() {
        args.given()?.has_none()?;
    }
    let rendered = match (&args.template, args.builtin) {
        (Some(template), _) => unit::from_template(&host, template, &args.set, say)?,
        (None, Some(builtin)) => unit::from_builtin(builtin, &args.given()?, say)?,
        (None, None) => unit::from_program(&host, &args.printing(), say)?,
    };
    if args.check {
        unit::check(&host, args.name.as_deref().or(rendered.name.as_deref()), &rendered.text, say)?;
    }
    let json = json!({ "unit": String::from_utf8_lossy(&rendered.text), "from": rendered.from, "checked": args.check });
    Ok(Answer::product(Exit::Done).text(rendered.text).json(json))
}

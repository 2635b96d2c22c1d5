//! verify: bytes in, trusted files out. Nothing is printed, and nothing stored, unless all of the evidence holds for all files.

mod args;

use std::process::ExitCode;

use serde_json::json;
use upswap::report::Answer;
use upswap::steps::artifact::verify::{Request, Then, Verified, verify};
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};

use args::Args;

fn main() -> ExitCode {
    upswap::report::run("verify", work)
}

fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let end = if args.null { b'\0' } else { b'\n' };
    let evidence = args.evidence()?;
    let runs = args.runs();
    let files = args.list.files_or(args.files)?;
    let then = if args.check { Then::Check } else { Then::Store { wanted: args.extract, target: args.target, runs } };
    let checking = args.check;
    let verified = verify(&Host::from_env(), &Request { files, evidence, name: args.name, then }, say)?;
    let answer = Answer::product(Exit::Done).json(json!({ "files": verified.iter().map(object).collect::<Vec<_>>() }));
    Ok(verified.iter().fold(answer, |answer, file| {
        if checking {
            answer.record(&file.file, end)
        } else {
            file.stored.iter().fold(answer, |answer, stored| answer.record(&stored.path, end))
        }
    }))
}

fn object(file: &Verified) -> serde_json::Value {
    let stored = file.stored.iter().map(|stored| {
        json!({
            "name": stored.name.as_os_str().to_string_lossy(),
            "path": stored.path.to_string_lossy(),
            "digest": stored.digest,
            "size": stored.size,
            "ran": stored.ran.iter().map(|ran| {
                json!({ "words": ran.words, "line": ran.line, "version": ran.version })
            }).collect::<Vec<_>>(),
        })
    });
    json!({
        "file": file.file.to_string_lossy(),
        "digest": file.verdict.digest,
        "size": file.verdict.size,
        "strength": file.verdict.strength.word(),
        "proven": file.verdict.statements,
        "stored": stored.collect::<Vec<_>>(),
    })
}

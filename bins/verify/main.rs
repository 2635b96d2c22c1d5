//! verify: bytes in, trusted files out. Nothing is printed, and nothing stored, unless all of the evidence holds for all files.

mod args;

use std::process::ExitCode;

use serde_json::json;
use upswap::report::Answer;
use upswap::steps::artifact::demands::Demands;
use upswap::steps::artifact::evidence::Statement;
use upswap::steps::artifact::verify::{Request, Then, Verified, verify};
use upswap::sys::Host;
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};
use upswap::words::statement::{Covers, Signer};

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
    let demands = Demands { floor: args.floor, policy: args.policy };
    let request = Request { files, evidence, version: args.expect_version, demands, name: args.name, then };
    let verified = verify(&Host::from_env(), &request, say)?;
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
        "strength": file.verdict.strength().word(),
        "proven": file.verdict.statements.iter().map(statement).collect::<Vec<_>>(),
        "stored": stored.collect::<Vec<_>>(),
    })
}

fn statement(said: &Statement) -> serde_json::Value {
    let (what, name) = match &said.covers {
        Covers::File(name) => ("file", name),
        Covers::List(name) => ("list", name),
    };
    json!({
        "by": said.by.word(),
        "signer": said.signer.as_ref().map(ToString::to_string),
        "issuer": said.signer.as_ref().and_then(|signer| signer.issuer()),
        "principals": said.signer.as_ref().map(Signer::principals).unwrap_or_default(),
        "signed_at": said.signed_at,
        "version": said.version,
        "covers": { "what": what, "name": name },
        "text": said.text,
    })
}

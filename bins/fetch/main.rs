//! fetch [--asset PATTERN]… [--sums NAME] [--sig NAME] [--into DIR] SOURCE: a release's assets to a folder.
//! fetch --list [--long] SOURCE: what releases there are.

mod args;

use std::io::IsTerminal;
use std::process::ExitCode;

use args::Args;
use upswap::report::{self, Answer};
use upswap::steps::artifact::demands;
use upswap::steps::artifact::fetch::{self, Request};
use upswap::steps::artifact::source::{self, Release, Source};
use upswap::sys::Host;
use upswap::sys::net::{PlainHttp, Policy};
use upswap::sys::say::Say;
use upswap::words::exit::{Exit, Stop};
use upswap::words::release::{Channel, Tag};

fn main() -> ExitCode {
    report::run("fetch", work)
}

fn work(args: Args, say: &Say) -> Result<Answer, Stop> {
    let host = Host::from_env();
    let end = if args.null { b'\0' } else { b'\n' };
    let demanded = args.policy.map(|path| demands::policy(&host, &path)).transpose()?.unwrap_or_default();
    let request = Request {
        // Read here and not by clap, which would print a secret in a header or an address back.
        source: Source::parse(&args.source, source::headers(&args.headers)?, args.index.as_deref())?,
        assets: args.assets,
        sidecars: [args.sums, args.sig].concat(),
        target: args.target.unwrap_or_else(|| host.target()),
        channel: if args.pre { Channel::WithPre } else { Channel::Stable },
        newer_than: args.newer_than,
        into: args.into,
        max_size: args.max_size,
        dated: demanded.min_age.is_some(),
        policy: Policy {
            plain_http: if args.allow_http { PlainHttp::Allowed } else { PlainHttp::Refused },
            cacert: args.cacert,
            retries: args.retry,
            hosts: (!demanded.hosts.is_empty()).then_some(demanded.hosts),
            ..Policy::within(args.timeout.duration())
        },
    };
    if args.list {
        let releases = fetch::list(&request, say)?;
        let answer = Answer::product(Exit::Done).json(fetch::listed(&request, &releases));
        if !args.null && std::io::stdout().is_terminal() {
            return Ok(answer.text(fetch::table(&releases, &request)));
        }
        let tag = |release: &Release| release.tag.as_ref().map_or_else(|| "-".to_owned(), Tag::to_string);
        let line = |release: &Release| if args.long { fetch::columns(release, &request) } else { tag(release) };
        return Ok(releases.iter().fold(answer, |answer, release| answer.record(line(release), end)));
    }
    let fetched = fetch::fetch(&host, &request, say)?;
    let answer = Answer::product(Exit::Done).json(fetched.json(&request));
    Ok(fetched.assets.iter().fold(answer, |answer, file| answer.record(&file.path, end)))
}

//! The benchmarks in a short form: they run, compare what they say, and fail where a promise that is no timing is broken.

use std::process::{Command, Output};

use crate::material;

/// `benches/artifact` over one megabyte, with `most` MiB of memory admitted.
fn artifact(most: &str) -> Output {
    for program in ["file-server", "measured"] {
        material::program(program);
    }
    let short =
        [("ROUNDS", "1"), ("MEGABYTES", "1"), ("RSS_MEGABYTES", "1"), ("HASH_MEGABYTES", "1"), ("RSS_MOST", most)];
    let mut bench = Command::new(material::project().join("benches/artifact"));
    bench.arg(material::tools()).envs(short).output().unwrap()
}

#[test]
fn the_benchmark_of_fetch_and_verify_runs() {
    let output = artifact("32");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for row in ["machine: ", "script : chain ", "chain : floor ", "openssl : verify ", "1 MB tar.gz "] {
        assert!(said.contains(row), "{row}: {said}");
    }
}

// Canary: no process fits into a megabyte.
#[test]
fn the_benchmark_of_fetch_and_verify_fails_above_the_memory_it_admits() {
    let output = artifact("1");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("artifact: more than 1 MiB of memory"), "{said}");
}

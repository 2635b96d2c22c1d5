//! Values as they stand in a unit, in the form in which systemd has them on the bus.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use upswap::words::privileges::CapSet;
use upswap::words::unit::exec::{self, Command};
use upswap::words::unit::keys;

/// A list in which neither the order counts nor how often something is said.
pub fn sorted(value: &Value) -> Value {
    let mut all = value.as_array().cloned().unwrap_or_default();
    all.sort_by_key(Value::to_string);
    all.dedup();
    json!(all)
}

pub fn commands(values: &[String]) -> Vec<Value> {
    let all = values.iter().flat_map(|value| exec::commands(value).unwrap_or_default());
    all.map(|Command { prefix, program, mut arguments }| {
        let zero = if prefix.contains('@') { arguments.remove(0) } else { program.clone() };
        arguments.insert(0, zero);
        let mut flags = Vec::new();
        for (mark, flag) in [("-", "ignore-failure"), ("+", "privileged"), ("!", "no-setuid"), (":", "no-env-expand")] {
            if prefix.contains(mark) && !(mark == "!" && prefix.contains("!!")) {
                flags.push(flag);
            }
        }
        if prefix.contains("!!") {
            flags.push("ambient");
        }
        flags.sort_unstable();
        json!([program, arguments, flags])
    })
    .collect()
}

pub fn usec(value: &str) -> u64 {
    let infinity = value == "infinity";
    keys::span(value).filter(|_| !infinity).map_or(u64::MAX, |span| u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// Numbers, sizes, and words that stand for a number.
pub fn number(key: &str, value: &str) -> Value {
    let words: &[(&str, i64)] = match key {
        "IOSchedulingClass" => &[("none", 0), ("realtime", 1), ("best-effort", 2), ("idle", 3)],
        "CPUSchedulingPolicy" => &[("other", 0), ("fifo", 1), ("rr", 2), ("batch", 3), ("idle", 5)],
        "SystemCallErrorNumber" => &[("EPERM", 1), ("EACCES", 13), ("ENOSYS", 38)],
        "SyslogLevel" | "LogLevelMax" => &[("warning", 4), ("info", 6), ("debug", 7)],
        "SyslogFacility" => &[("local0", 16), ("daemon", 3)],
        "SecureBits" => &[("keep-caps noroot", 1 << 4 | 1)],
        _ => &[],
    };
    if let Some((_, number)) = words.iter().find(|(word, _)| *word == value) {
        return json!(number);
    }
    if value == "infinity" {
        return json!(u64::MAX);
    }
    if let Some(number) = value.strip_prefix("RTMIN+").and_then(|n| n.parse::<i32>().ok()) {
        return json!(34 + number);
    }
    if let Ok(signal) = value.parse::<Signal>() {
        return json!(signal as i32);
    }
    let (digits, shift) = match value.strip_suffix(['K', 'M', 'G', 'T']) {
        Some(digits) => {
            (digits, ["K", "M", "G", "T"].iter().position(|unit| value.ends_with(unit)).unwrap_or(0) * 10 + 10)
        }
        None => (value, 0),
    };
    match digits.parse::<i64>() {
        Ok(number) => json!(number << shift),
        Err(_) => json!(value),
    }
}

/// Exit codes and signals (systemd.exec(5), "Process Exit Codes").
pub fn statuses(words: &[String]) -> Value {
    let (mut codes, mut signals) = (BTreeSet::new(), BTreeSet::new());
    for word in words {
        let signal = if word.starts_with("SIG") { word.clone() } else { format!("SIG{word}") };
        match (word.parse::<u8>(), signal.parse::<Signal>()) {
            (Ok(code), _) => drop(codes.insert(code)),
            (_, Ok(signal)) => drop(signals.insert(signal as i32)),
            _ if word == "DATAERR" => drop(codes.insert(65)),
            _ if word == "CANTCREAT" => drop(codes.insert(73)),
            _ => drop(codes.insert(u8::MAX)),
        }
    }
    json!([codes, signals])
}

pub fn capability(name: &str) -> CapSet {
    CapSet::named(name).unwrap_or(CapSet::NONE)
}

/// The namespaces that may be made, as clone(2) has them.
pub fn namespaces(values: &[String]) -> u64 {
    const ALL: [(&str, u64); 7] = [
        ("cgroup", 0x0200_0000),
        ("ipc", 0x0800_0000),
        ("net", 0x4000_0000),
        ("mnt", 0x0002_0000),
        ("pid", 0x2000_0000),
        ("user", 0x1000_0000),
        ("uts", 0x0400_0000),
    ];
    let all = ALL.iter().map(|(_, bit)| bit).sum::<u64>();
    let named = |list: &str| {
        let words = exec::words(list).unwrap_or_default();
        ALL.iter().filter(|(name, _)| words.iter().any(|w| w == name)).map(|(_, bit)| bit).sum::<u64>()
    };
    values.iter().fold(0, |set, value| match keys::switch(value) {
        "yes" => 0,
        "no" => all,
        list => list.strip_prefix('~').map_or_else(|| set | named(list), |list| all & !named(list)),
    })
}

/// `a.b.c.d/LENGTH`, all bytes in decimal also for IPv6.
pub fn address(one: &Value) -> String {
    let bytes: Vec<_> = one[1].as_array().into_iter().flatten().map(ToString::to_string).collect();
    format!("{}/{}", bytes.join("."), one[2])
}

/// A list in which `~` takes back: whether it allows, and what.
pub fn filter(values: &[String], members: impl Fn(&str) -> Vec<String>, always: &[&str]) -> (bool, Vec<String>) {
    let allows = !values.first().is_some_and(|value| value.starts_with('~'));
    let mut set = BTreeSet::new();
    if allows {
        set.extend(always.iter().flat_map(|word| members(word)));
    }
    for value in values {
        let (inverted, list) = value.strip_prefix('~').map_or((false, value.as_str()), |list| (true, list));
        let named = exec::words(list).unwrap_or_default().into_iter().filter(|word| word != "none");
        for word in named.flat_map(|word| members(&word)) {
            if inverted == allows {
                set.remove(&word)
            } else {
                set.insert(word)
            };
        }
    }
    (allows, set.into_iter().collect())
}

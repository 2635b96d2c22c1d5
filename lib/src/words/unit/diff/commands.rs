//! The difference of command lines: by prefix, program and flag.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Difference, Told, against, by, sequence, whole};
use crate::words::unit::exec::{self, Command};
use crate::words::unit::flags::{self, Flag};

pub(super) fn commands<'a>(old: &[&'a str], new: &[&'a str], out: &mut Told<'_, 'a>) {
    let read = |values: &[&str]| values.iter().map(|v| exec::commands(v)).collect::<Result<Vec<_>, _>>();
    let (Ok(before), Ok(after)) = (read(old), read(new)) else {
        return sequence("", &whole("", old), &whole("", new), out);
    };
    let (before, after) = (before.concat(), after.concat());
    if before == after {
        return;
    }
    if let ([old], [new]) = (before.as_slice(), after.as_slice()) {
        return command(old, new, None, out);
    }
    let (kept_old, lost) = against(&before, &after);
    let (kept_new, added) = against(&after, &before);
    let mut partners = by(&added, |command| command.program.as_str());
    let mut paired: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut lost_alone, mut added_alone) = (BTreeSet::new(), BTreeSet::new());
    for old in lost {
        if let Some(new) = partners.get_mut(old.program.as_str()).and_then(VecDeque::pop_front) {
            *paired.entry(&new.program).or_default() += 1;
            command(old, new, Some(&old.program), out);
        } else {
            lost_alone.insert(std::ptr::from_ref(old));
            out.push(Difference::loses(old.to_string()));
        }
    }
    for new in added {
        match paired.get_mut(new.program.as_str()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => {
                added_alone.insert(std::ptr::from_ref(new));
                out.push(Difference::adds(new.to_string()));
            }
        }
    }
    // A command that differs a little has its place among the others too.
    let places = |all: &[Command], alone: &BTreeSet<*const Command>| -> Vec<String> {
        let stays = all.iter().filter(|command| !alone.contains(&std::ptr::from_ref(*command)));
        stays.map(|command| command.program.clone()).collect()
    };
    if kept_old != kept_new || places(&before, &lost_alone) != places(&after, &added_alone) {
        let joined = |all: &[Command]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        out.push(Difference::changes(joined(&before), joined(&after)).of("order"));
    }
}

/// What differs between two command lines, by prefix, program and flag. `of` names the command when there are several.
fn command(old: &Command, new: &Command, of: Option<&str>, out: &mut Told<'_, '_>) {
    let name =
        |part: &str| of.map_or_else(|| part.to_owned(), |program| format!("{program} {part}").trim_end().to_owned());
    let told = out.len();
    if old.prefix != new.prefix {
        let shown = |prefix: &str| if prefix.is_empty() { "none".to_owned() } else { prefix.to_owned() };
        out.push(Difference::changes(shown(&old.prefix), shown(&new.prefix)).of(name("prefix")));
    }
    if old.program != new.program {
        out.push(Difference::changes(old.program.clone(), new.program.clone()).of(name("program")));
    }
    let (before, after) = (flags::flags(&old.arguments), flags::flags(&new.arguments));
    let (_, mut lost) = against(&before, &after);
    let (_, mut added) = against(&after, &before);
    same_words(&mut lost, &mut added);
    same_words(&mut added, &mut lost);
    let (olds, news) = (by(&lost, |flag| flag.name.as_deref()), by(&added, |flag| flag.name.as_deref()));
    let value = |flag: &Flag| flag.value.clone().unwrap_or_default();
    let part = |flag: &Flag| name(flag.name.as_deref().unwrap_or("argument"));
    for flag in lost {
        let count = |all: &BTreeMap<_, VecDeque<&Flag>>| all.get(&flag.name.as_deref()).map_or(0, VecDeque::len);
        match news.get(&flag.name.as_deref()).and_then(VecDeque::front) {
            // Several of one name, and nobody knows which became which.
            Some(new) if count(&olds) == 1 && count(&news) == 1 => {
                let said = |flag: &Flag| flag.value.clone().unwrap_or_else(|| "none".to_owned());
                out.push(Difference::changes(said(flag), said(new)).of(part(flag)));
            }
            _ => out.push(Difference::loses(value(flag)).of(part(flag))),
        }
    }
    for flag in added {
        let count = |all: &BTreeMap<_, VecDeque<&Flag>>| all.get(&flag.name.as_deref()).map_or(0, VecDeque::len);
        if count(&olds) != 1 || count(&news) != 1 {
            out.push(Difference::adds(value(flag)).of(part(flag)));
        }
    }
    if out.len() == told {
        // The same flags in another order or spelling: another argv all the same.
        out.push(Difference::changes(old.to_string(), new.to_string()));
    }
}

/// `--debug serve` here and `serve --debug` there are the same two words, whether serve is the flag's value or not.
fn same_words(joined: &mut Vec<&Flag>, apart: &mut Vec<&Flag>) {
    let mut singles: BTreeMap<Flag, usize> = BTreeMap::new();
    for flag in apart.iter().filter(|flag| flag.name.is_none() || flag.value.is_none()) {
        *singles.entry((*flag).clone()).or_default() += 1;
    }
    let mut found: BTreeMap<Flag, usize> = BTreeMap::new();
    joined.retain(|flag| {
        if flag.name.is_none() || flag.value.is_none() {
            return true;
        }
        let pair = [Flag { value: None, ..(*flag).clone() }, Flag { name: None, ..(*flag).clone() }];
        if !pair.iter().all(|single| singles.get(single).is_some_and(|count| *count > 0)) {
            return true;
        }
        for single in pair {
            singles.entry(single.clone()).and_modify(|count| *count -= 1);
            *found.entry(single).or_default() += 1;
        }
        false
    });
    apart.retain(|flag| match found.get_mut(*flag) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
}

//! Command lines merged by prefix, program and flag. The words stay as they are written: a `%%` or `$$` is one later, too.

use std::collections::BTreeSet;

use super::merge::{Clash, Member, Why, clash, three_way};
use super::state::{Element, raw_words};
use crate::words::unit::exec;
use crate::words::unit::flags::is_flag;

/// Merges lists of commands.
pub fn merge_all(base: &[Element], old: &[Element], new: &[Element]) -> Result<Vec<Element>, Vec<Clash>> {
    if let ([base], [old], [new]) = (base, old, new) {
        return Ok(vec![one(Some(base), old, new, None)?]);
    }
    let mut repeated = BTreeSet::new();
    for list in [base, old, new] {
        let mut seen = BTreeSet::new();
        repeated.extend(list.iter().map(program).filter(|program| !seen.insert(program.clone())));
    }
    let run = |element: &Element| {
        let program = program(element);
        let name = if repeated.contains(&program) { element.id.clone() } else { program };
        Run { name, element: element.clone() }
    };
    let runs = |elements: &[Element]| elements.iter().map(run).collect::<Vec<_>>();
    Ok(three_way(&runs(base), &runs(old), &runs(new), true)?.into_iter().map(|run| run.element).collect())
}

/// The program of a command line, or all of one that can't be split.
fn program(element: &Element) -> String {
    Line::of(&element.raw).map_or_else(|| element.raw.clone(), |line| line.program.read)
}

/// One of several commands, known by its program. Where one program runs several times nobody can tell which of its lines
/// became which, so each is known by all that it says.
#[derive(Clone)]
struct Run {
    name: String,
    element: Element,
}

impl Member for Run {
    fn name(&self) -> String {
        self.name.clone()
    }
    fn same(&self, other: &Self) -> bool {
        self.element.id == other.element.id
    }
    fn shown(&self) -> String {
        self.element.raw.clone()
    }
    fn is_anonymous(&self) -> bool {
        true
    }
    fn part(&self) -> Option<String> {
        Some(program(&self.element))
    }
    fn both(base: Option<&Self>, old: &Self, new: &Self) -> Result<Self, Vec<Clash>> {
        let part = program(&old.element);
        let element = one(base.map(|base| &base.element), &old.element, &new.element, Some(&part))?;
        Ok(Self { name: old.name.clone(), element })
    }
}

/// A word as it is written, and as systemd reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    raw: String,
    read: String,
}

/// A command line.
#[derive(Clone, Debug)]
struct Line {
    prefix: String,
    program: Word,
    arguments: Vec<Word>,
}

impl Line {
    fn of(raw: &str) -> Option<Self> {
        let mut command = exec::commands(raw).ok()?;
        let command = if command.len() == 1 { command.pop()? } else { return None };
        let mut words = raw_words(raw)?.into_iter();
        let first = words.next()?;
        // A prefix within quotes is not told apart.
        let (prefix, program) = first.split_at_checked(command.prefix.len())?;
        if prefix.contains(['"', '\'', '\\']) {
            return None;
        }
        let program = Word { raw: program.to_owned(), read: command.program };
        let raws = words.map(ToOwned::to_owned);
        let arguments: Vec<_> = raws.zip(command.arguments).map(|(raw, read)| Word { raw, read }).collect();
        Some(Self { prefix: command.prefix, program, arguments })
    }

    fn base_name(&self) -> &str {
        self.program.read.rsplit('/').next().unwrap_or_default()
    }

    fn same_arguments(&self, other: &Self) -> bool {
        let read = |line: &Self| line.arguments.iter().map(|word| word.read.clone()).collect::<Vec<_>>();
        read(self) == read(other)
    }

    /// The line split where `program` stands among its arguments: the wrapper's words, and the line that it runs.
    fn wraps(&self, program: &Word) -> Option<(Vec<Word>, Self)> {
        let at = self.arguments.iter().position(|word| word.read == program.read)?;
        let (before, rest) = self.arguments.split_at(at);
        let wrapper = std::iter::once(&self.program).chain(before).cloned().collect();
        let (program, arguments) = rest.split_first()?;
        Some((wrapper, Self { prefix: self.prefix.clone(), program: program.clone(), arguments: arguments.to_vec() }))
    }
}

/// Merges one command.
fn one(base: Option<&Element>, old: &Element, new: &Element, of: Option<&str>) -> Result<Element, Vec<Clash>> {
    let shown = |element: Option<&Element>| element.map(|e| e.raw.clone());
    let whole = || {
        vec![Clash {
            part: of.map(ToOwned::to_owned),
            base: shown(base),
            old: shown(Some(old)),
            new: shown(Some(new)),
            why: Why::Both,
        }]
    };
    let read = |element: &Element| Line::of(&element.raw).ok_or_else(whole);
    let (b, o, n) = (read(base.ok_or_else(whole)?)?, read(old)?, read(new)?);
    let (wrapper, inner) = match o.wraps(&b.program) {
        Some(_) if o.program.read != b.program.read && n.wraps(&b.program).is_some() => return Err(whole()),
        Some((wrapper, inner)) if o.program.read != b.program.read => (wrapper, inner),
        _ => (Vec::new(), o.clone()),
    };
    // Another program knows other flags.
    let moved = |line: &Line| line.base_name() != b.base_name();
    if moved(&inner) && !b.same_arguments(&n) || moved(&n) && !b.same_arguments(&inner) {
        return Err(whole());
    }
    let mut clashes = Vec::new();
    let mut part = |name: &str, base: &str, old: &str, new: &str| {
        if old != base && new != base && old != new {
            let [base, old, new] = [base, old, new].map(|text| Some(text.to_owned()));
            clashes.push(Clash { part: Some(named(of, name)), base, old, new, why: Why::Both });
        }
        if old == base { new.to_owned() } else { old.to_owned() }
    };
    let prefix = part("prefix", &b.prefix, &o.prefix, &n.prefix);
    let program = part("program", &b.program.raw, &inner.program.raw, &n.program.raw);
    let arguments = match three_way(&parts(&b), &parts(&inner), &parts(&n), true) {
        Ok(arguments) => arguments,
        Err(more) => {
            clashes.extend(
                more.into_iter()
                    .map(|clash| Clash { part: Some(named(of, clash.part.as_deref().unwrap_or("argument"))), ..clash }),
            );
            Vec::new()
        }
    };
    if !clashes.is_empty() {
        return Err(clashes);
    }
    let mut words: Vec<String> = wrapper.into_iter().map(|word| word.raw).collect();
    words.push(program);
    words.extend(arguments.into_iter().flat_map(|part| part.words).map(|word| word.raw));
    let raw = format!("{prefix}{}", words.join(" "));
    let id = exec::commands(&raw).map_or_else(|_| raw.clone(), |all| format!("{all:?}"));
    Ok(Element { key: new.key.clone(), raw, id, alone: true })
}

fn named(of: Option<&str>, name: &str) -> String {
    of.map_or_else(|| name.to_owned(), |of| format!("{of} {name}"))
}

/// A flag with its value, or a word that belongs to none.
#[derive(Clone, Debug)]
struct Part {
    flag: Option<String>,
    value: Option<String>,
    words: Vec<Word>,
}

impl Member for Part {
    fn name(&self) -> String {
        self.flag.clone().unwrap_or_else(|| format!(" {}", self.value.as_deref().unwrap_or_default()))
    }
    fn same(&self, other: &Self) -> bool {
        self.value == other.value
    }
    fn shown(&self) -> String {
        let all = self.value.clone().or_else(|| self.flag.clone());
        all.unwrap_or_default()
    }
    fn is_anonymous(&self) -> bool {
        self.flag.is_none()
    }
    fn part(&self) -> Option<String> {
        self.flag.clone()
    }
    fn both(base: Option<&Self>, old: &Self, new: &Self) -> Result<Self, Vec<Clash>> {
        Err(vec![clash(base, Some(old), Some(new))])
    }
}

/// The arguments by flag, as [`crate::words::unit::flags::flags`] takes them.
fn parts(line: &Line) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut words = line.arguments.iter().peekable();
    let mut operands_only = false;
    while let Some(word) = words.next() {
        let part = if operands_only || !is_flag(&word.read) || word.read == "--" {
            operands_only |= word.read == "--";
            Part { flag: None, value: Some(word.read.clone()), words: vec![word.clone()] }
        } else if let Some((name, value)) = word.read.split_once('=').filter(|_| word.read.starts_with("--")) {
            Part { flag: Some(name.to_owned()), value: Some(value.to_owned()), words: vec![word.clone()] }
        } else {
            let value = words.next_if(|next| !is_flag(&next.read));
            let words = std::iter::once(word).chain(value).cloned().collect();
            Part { flag: Some(word.read.clone()), value: value.map(|word| word.read.clone()), words }
        };
        parts.push(part);
    }
    parts
}

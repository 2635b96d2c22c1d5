//! The lines that make of what NEW says what it should say.

use std::collections::BTreeSet;

use super::merge::{Clash, Why, is_switch};
use super::state::{Element, Place, Slot, ends_in_backslash, is_single, name_of, same};
use crate::words::unit::absent;
use crate::words::unit::keys::Kind;

/// The lines of a drop-in that turn `new` into `target` at `place`; none when it is that already.
pub fn lines(place: &Place, new: Option<&Slot>, target: Option<&Slot>) -> Result<Vec<String>, Vec<Clash>> {
    if same(new, target) {
        return Ok(Vec::new());
    }
    let Some(kind) = target.or(new).map(|slot| slot.kind) else { return Ok(Vec::new()) };
    let before = new.map(|slot| slot.elements.as_slice()).unwrap_or_default();
    let after = target.map(|slot| slot.elements.as_slice()).unwrap_or_default();
    if is_single(kind) {
        return single(place, before, after);
    }
    if kind == Kind::Dependencies {
        let gone: Vec<_> = before.iter().filter(|e| !has(after, e)).map(kept).collect();
        return if gone.is_empty() { Ok(listed(kind, &missing(after, before))) } else { Err(gone) };
    }
    // An absent bounding set holds everything, and so does '~', which takes nothing away from that. After the empty value
    // a set that is given by what it has not would stay empty.
    let takes_back = before.is_empty() && new.is_some() && after.iter().any(|e| e.id.starts_with('~'));
    if kind == Kind::Capabilities
        && target.is_none_or(|slot| !slot.elements.is_empty())
        && (takes_back || !grows(kind, new, target))
    {
        return Ok(std::iter::once(format!("{}=~", place.key))
            .filter(|_| new.is_some())
            .chain(listed(kind, after))
            .collect());
    }
    if let ([only], Some(_)) = (after, target.filter(|slot| is_switch(slot))) {
        return Ok(vec![line(&only.key, &only.raw)]);
    }
    let whole = [new, target].into_iter().flatten().any(is_switch)
        || target.is_some_and(|slot| slot.elements.is_empty())
        || kind != Kind::Capabilities && new.is_some_and(|slot| slot.elements.is_empty());
    if !whole && grows(kind, new, target) {
        let there = if is_ordered(new, target) {
            after.get(before.len()..).unwrap_or_default().to_vec()
        } else {
            missing(after, before)
        };
        return Ok(listed(kind, &there));
    }
    let key = before.first().or(after.first()).map_or(place.key.as_str(), |e| e.key.as_str());
    // An empty Delegate= delegates.
    if key == "Delegate" && target.is_none() {
        let nothing_listed = before.is_empty().then(|| Clash { why: Why::Kept, ..Clash::default() });
        return Err(before.iter().map(kept).chain(nothing_listed).collect());
    }
    Ok(std::iter::once(format!("{key}=")).chain(listed(kind, after)).collect())
}

fn is_ordered(new: Option<&Slot>, target: Option<&Slot>) -> bool {
    [new, target].into_iter().flatten().any(Slot::is_ordered)
}

/// True when lines behind NEW's make the target of it, with nothing taken away.
fn grows(kind: Kind, new: Option<&Slot>, target: Option<&Slot>) -> bool {
    let elements = |slot: Option<&Slot>| slot.map(|s| s.elements.clone()).unwrap_or_default();
    let (before, after) = (elements(new), elements(target));
    if kind == Kind::Capabilities && new.is_none() != target.is_none() {
        return false;
    }
    if is_ordered(new, target) {
        return before.len() <= after.len() && before.iter().zip(&after).all(|(one, other)| alike(one, other));
    }
    let names = |elements: &[Element]| elements.iter().map(|e| name_of(kind, e)).collect::<BTreeSet<_>>();
    names(&before).is_subset(&names(&after))
}

fn single(place: &Place, before: &[Element], after: &[Element]) -> Result<Vec<String>, Vec<Clash>> {
    if let Some(value) = after.last() {
        return Ok(vec![line(&place.key, &value.raw)]);
    }
    match absent::of(&place.key) {
        _ if absent::empties(&place.key) => Ok(vec![format!("{}=", place.key)]),
        Some(default) => Ok(vec![format!("{}={default}", place.key)]),
        None => Err(before.iter().map(kept).collect()),
    }
}

fn kept(element: &Element) -> Clash {
    let raw = || Some(element.raw.clone());
    Clash { part: None, base: None, old: None, new: raw(), why: Why::Kept }
}

fn alike(one: &Element, other: &Element) -> bool {
    one.key == other.key && one.id == other.id
}

fn has(elements: &[Element], element: &Element) -> bool {
    elements.iter().any(|e| alike(e, element))
}

/// The elements of `all` that are not in `there`.
fn missing(all: &[Element], there: &[Element]) -> Vec<Element> {
    let there: BTreeSet<_> = there.iter().map(|e| (&e.key, &e.id)).collect();
    all.iter().filter(|e| !there.contains(&(&e.key, &e.id))).cloned().collect()
}

/// `elements` as lines: words share one, what must stand alone has its own.
fn listed(kind: Kind, elements: &[Element]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<(String, String)> = None;
    for element in elements {
        match &mut open {
            Some((key, text)) if !element.alone && kind != Kind::Commands && *key == element.key => {
                text.push(' ');
                text.push_str(&element.raw);
            }
            _ => {
                lines.extend(open.take().map(|(key, text)| line(&key, &text)));
                if element.alone {
                    lines.push(line(&element.key, &element.raw));
                } else {
                    open = Some((element.key.clone(), element.raw.clone()));
                }
            }
        }
    }
    lines.extend(open.map(|(key, text)| line(&key, &text)));
    lines
}

/// A blank keeps a last backslash from joining the next line.
fn line(key: &str, value: &str) -> String {
    let end = if ends_in_backslash(value) { " " } else { "" };
    format!("{key}={value}{end}")
}

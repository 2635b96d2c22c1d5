//! The three-way merge: what the operator changed from BASE to OLD, done to NEW.

use std::collections::{BTreeMap, BTreeSet};

use super::command;
use super::state::{Element, Slot, is_single, name_of, same};
use crate::words::unit::absent;
use crate::words::unit::keys::Kind;

/// Something that both changed, each in its own way, or that can't be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clash {
    /// What of the value: a variable, a flag, `program` …
    pub part: Option<String>,
    /// What BASE says.
    pub base: Option<String>,
    /// What OLD says.
    pub old: Option<String>,
    /// What NEW says.
    pub new: Option<String>,
    /// Why it is one.
    pub why: Why,
}

/// Why something can't be carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// OLD and NEW both changed it.
    #[default]
    Both,
    /// OLD and NEW both changed the order.
    Order,
    /// OLD took away what no drop-in can take away.
    Kept,
    /// A drop-in comes before, and would be overruled.
    Early(String),
    /// Written down it would not be read as it was meant.
    Unsayable,
}

/// A member of a list that is merged.
pub trait Member: Clone {
    /// What its versions in the three lists have in common.
    fn name(&self) -> String;
    /// True when it means the same.
    fn same(&self, other: &Self) -> bool;
    /// As people read it.
    fn shown(&self) -> String;
    /// Its name is its value, so that a changed one looks like one taken away and another one added.
    fn is_anonymous(&self) -> bool;
    /// What to call it in a clash.
    fn part(&self) -> Option<String>;
    /// Both changed it.
    fn both(base: Option<&Self>, old: &Self, new: &Self) -> Result<Self, Vec<Clash>>;
}

/// What NEW would say at one place, had the operator's changes been made to it.
pub fn merge(base: Option<&Slot>, old: Option<&Slot>, new: Option<&Slot>) -> Result<Option<Slot>, Vec<Clash>> {
    if same(old, base) || same(old, new) {
        return Ok(new.cloned());
    }
    if same(new, base) {
        return Ok(old.cloned());
    }
    let kind = [old, new, base].into_iter().flatten().map(|slot| slot.kind).next().unwrap_or(Kind::Text);
    let shown = |slot: Option<&Slot>| slot.map(Slot::shown);
    let whole = || vec![Clash { base: shown(base), old: shown(old), new: shown(new), ..Clash::default() }];
    let absent_differs = [base, old, new].iter().any(Option::is_some) && [base, old, new].iter().any(Option::is_none);
    // An absent bounding set holds everything; a yes or no among the words is no element of a list.
    let indivisible = is_single(kind)
        || kind == Kind::Capabilities && absent_differs
        || [base, old, new].into_iter().flatten().any(is_switch);
    if indivisible {
        return Err(whole());
    }
    let elements = |slot: Option<&Slot>| slot.map(|s| s.elements.clone()).unwrap_or_default();
    let (b, o, n) = (elements(base), elements(old), elements(new));
    let ordered = [base, old, new].into_iter().flatten().any(Slot::is_ordered);
    let merged: Vec<Element> = match kind {
        Kind::Filter | Kind::Capabilities if ordered => match o.strip_prefix(b.as_slice()) {
            // What was put behind BASE goes behind NEW.
            Some(added) => n.into_iter().chain(added.iter().cloned()).collect(),
            None => return Err(whole()),
        },
        Kind::Variables => three_way(&named(b), &named(o), &named(n), false)?.into_iter().map(|v| v.0).collect(),
        Kind::Commands => command::merge_all(&b, &o, &n)?,
        _ => three_way(&plain(b), &plain(o), &plain(n), ordered)?.into_iter().map(|v| v.0).collect(),
    };
    let stays = !merged.is_empty() || kind == Kind::Capabilities;
    Ok(stays.then_some(Slot { kind, elements: merged }))
}

/// A value such as `RestrictNamespaces=yes`, which is no list.
pub fn is_switch(slot: &Slot) -> bool {
    slot.elements.iter().any(|e| absent::is_switch(&e.key, &e.id))
}

#[derive(Clone)]
struct Plain(Element);
#[derive(Clone)]
struct Named(Element);

fn plain(elements: Vec<Element>) -> Vec<Plain> {
    elements.into_iter().map(Plain).collect()
}

fn named(elements: Vec<Element>) -> Vec<Named> {
    elements.into_iter().map(Named).collect()
}

impl Member for Plain {
    fn name(&self) -> String {
        name_of(Kind::Words, &self.0)
    }
    fn same(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
    fn shown(&self) -> String {
        self.0.raw.clone()
    }
    fn is_anonymous(&self) -> bool {
        true
    }
    fn part(&self) -> Option<String> {
        None
    }
    fn both(_: Option<&Self>, old: &Self, _: &Self) -> Result<Self, Vec<Clash>> {
        // Of one name they are the same.
        Ok(old.clone())
    }
}

impl Member for Named {
    fn name(&self) -> String {
        name_of(Kind::Variables, &self.0)
    }
    fn same(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
    fn shown(&self) -> String {
        self.0.id.split_once('=').map_or_else(|| self.0.id.clone(), |(_, value)| value.to_owned())
    }
    fn is_anonymous(&self) -> bool {
        false
    }
    fn part(&self) -> Option<String> {
        Some(self.name())
    }
    fn both(base: Option<&Self>, old: &Self, new: &Self) -> Result<Self, Vec<Clash>> {
        Err(vec![clash(base, Some(old), Some(new))])
    }
}

/// What the three say of one member.
pub fn clash<T: Member>(base: Option<&T>, old: Option<&T>, new: Option<&T>) -> Clash {
    let part = [old, new, base].into_iter().flatten().next().and_then(Member::part);
    let shown = |member: Option<&T>| member.map(Member::shown);
    Clash { part, base: shown(base), old: shown(old), new: shown(new), why: Why::Both }
}

/// A member's name, and the how manieth of that name it is.
type Name = (String, usize);

struct List<'a, T> {
    order: Vec<Name>,
    members: BTreeMap<Name, &'a T>,
}

impl<'a, T: Member> List<'a, T> {
    fn of(members: &'a [T]) -> Self {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        let mut list = Self { order: Vec::new(), members: BTreeMap::new() };
        for member in members {
            let seen = count.entry(member.name()).or_default();
            let name = (member.name(), *seen);
            *seen += 1;
            list.order.push(name.clone());
            list.members.insert(name, member);
        }
        list
    }

    fn has(&self, name: &Name) -> bool {
        self.members.contains_key(name)
    }

    fn among(&self, names: &BTreeSet<&Name>) -> Vec<&Name> {
        self.order.iter().filter(|name| names.contains(name)).collect()
    }
}

/// Merges lists member by member. What the operator added goes behind what it stood behind in OLD.
pub fn three_way<T: Member>(base: &[T], old: &[T], new: &[T], ordered: bool) -> Result<Vec<T>, Vec<Clash>> {
    let (b, o, n) = (List::of(base), List::of(old), List::of(new));
    let (merged, mut clashes) = chosen(&b, &o, &n);
    clashes.extend(replaced(&b, &o, &n));
    // The order is NEW's, unless the operator alone changed it.
    let common: BTreeSet<&Name> = o.order.iter().filter(|name| n.has(name) && merged.contains_key(*name)).collect();
    let (mut first, mut second) = (&n, &o);
    if ordered && o.among(&common) != n.among(&common) {
        let three: BTreeSet<&Name> = common.iter().copied().filter(|name| b.has(name)).collect();
        if three.len() == common.len() && b.among(&three) == n.among(&three) {
            (first, second) = (&o, &n);
        } else if three.len() != common.len() || b.among(&three) != o.among(&three) {
            let all = |members: &[T]| Some(members.iter().map(Member::shown).collect::<Vec<_>>().join(" "));
            let part = Some("order".to_owned());
            clashes.push(Clash { part, base: all(base), old: all(old), new: all(new), why: Why::Order });
        }
    }
    let (mut front, mut behind, mut lost): (Vec<&Name>, BTreeMap<&Name, Vec<&Name>>, bool) = Default::default();
    let mut anchor = None;
    for name in &second.order {
        if !merged.contains_key(name) {
            lost = true;
        } else if first.has(name) {
            anchor = Some(name);
        } else if let Some(anchor) = anchor {
            behind.entry(anchor).or_default().push(name);
        } else {
            // All that it stood behind is gone, so its place is not known.
            if ordered && lost && !first.order.iter().all(|name| !merged.contains_key(name)) {
                let of = |list: &List<T>| list.members.get(name).map(|member| member.shown());
                let part = Some("order".to_owned());
                clashes.push(Clash { part, base: of(&b), old: of(&o), new: of(&n), why: Why::Order });
            }
            front.push(name);
        }
    }
    if !clashes.is_empty() {
        return Err(clashes);
    }
    let kept = first.order.iter().filter(|name| merged.contains_key(*name));
    let names = front
        .into_iter()
        .chain(kept.flat_map(|name| std::iter::once(name).chain(behind.remove(name).unwrap_or_default())));
    Ok(names.filter_map(|name| merged.get(name).cloned()).collect())
}

/// What becomes of each member.
fn chosen<T: Member>(b: &List<T>, o: &List<T>, n: &List<T>) -> (BTreeMap<Name, T>, Vec<Clash>) {
    let (mut merged, mut clashes) = (BTreeMap::new(), Vec::new());
    let same = |one: Option<&&T>, other: Option<&&T>| match (one, other) {
        (Some(one), Some(other)) => one.same(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    for name in o.order.iter().chain(n.order.iter().filter(|name| !o.has(name))) {
        let (base, old, new) = (b.members.get(name), o.members.get(name), n.members.get(name));
        let taken = if same(old, base) || same(old, new) {
            new.map(|member| (*member).clone())
        } else if same(new, base) {
            old.map(|member| (*member).clone())
        } else if let (Some(old), Some(new)) = (old, new) {
            match T::both(base.copied(), old, new) {
                Ok(member) => Some(member),
                Err(more) => {
                    clashes.extend(more);
                    None
                }
            }
        } else {
            clashes.push(clash(base.copied(), old.copied(), new.copied()));
            None
        };
        merged.extend(taken.map(|member| (name.clone(), member)));
    }
    (merged, clashes)
}

/// Both took the same away and put something of their own in its place: which holds, nobody can tell.
fn replaced<T: Member>(b: &List<T>, o: &List<T>, n: &List<T>) -> Option<Clash> {
    let anonymous = |name: &&Name, list: &List<T>| list.members.get(*name).is_some_and(|member| member.is_anonymous());
    let gone: Vec<_> = b.order.iter().filter(|name| !o.has(name) && !n.has(name) && anonymous(name, b)).collect();
    let added = |list: &List<T>, other: &List<T>| -> Vec<String> {
        let own = list.order.iter().filter(|name| !b.has(name) && !other.has(name) && anonymous(name, list));
        own.filter_map(|name| list.members.get(name)).map(|member| member.shown()).collect()
    };
    let (old, new) = (added(o, n), added(n, o));
    if gone.is_empty() || old.is_empty() || new.is_empty() {
        return None;
    }
    let part = gone.first().and_then(|name| b.members.get(*name)).and_then(|member| member.part());
    let gone: Vec<_> = gone.into_iter().filter_map(|name| b.members.get(name)).map(|member| member.shown()).collect();
    let all = |members: Vec<String>| Some(members.join(" "));
    Some(Clash { part, base: all(gone), old: all(old), new: all(new), why: Why::Both })
}

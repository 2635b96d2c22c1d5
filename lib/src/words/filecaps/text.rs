//! The text form of `cap_from_text(3)`, as far as a file can hold it: clauses such as `cap_net_bind_service,cap_chown=ep`.

use caps::Capability;

use super::FileCaps;

/// Text that cannot be written to a file as capabilities.
#[derive(Debug, thiserror::Error)]
pub enum NotCapText {
    /// The text does not follow `cap_from_text(3)`.
    #[error("'{0}' is not a capability clause such as cap_net_bind_service=ep")]
    Clause(String),
    /// No capability of this name.
    #[error("'{0}' is not a capability; capabilities(7) lists them")]
    Name(String),
    /// The kernel has one effective bit for a whole file.
    #[error("'{0}': a file's capabilities are all effective or none (capabilities(7))")]
    MixedEffective(String),
}

/// Reads clauses separated by white space. `=` sets, `+` adds, `-` takes away; a clause without names means all capabilities.
pub(super) fn read(text: &str) -> Result<FileCaps, NotCapText> {
    let (mut permitted, mut inheritable, mut effective) = (0, 0, 0);
    for clause in text.split_whitespace() {
        let bad = || NotCapText::Clause(clause.to_owned());
        let at = clause.find(['=', '+', '-']).ok_or_else(bad)?;
        let (names, mut rest) = clause.split_at(at);
        let set = names_to_set(names)?;
        while let Some(operator) = rest.chars().next() {
            let end = rest[1..].find(['=', '+', '-']).map_or(rest.len(), |n| n + 1);
            let flags = &rest[1..end];
            if !flags.chars().all(|c| "eip".contains(c)) || (flags.is_empty() && operator != '=') {
                return Err(bad());
            }
            for (flag, target) in [('p', &mut permitted), ('i', &mut inheritable), ('e', &mut effective)] {
                let flagged = flags.contains(flag);
                match operator {
                    '=' if !flagged => *target &= !set,
                    '-' if flagged => *target &= !set,
                    _ if flagged => *target |= set,
                    _ => {}
                }
            }
            rest = &rest[end..];
        }
    }
    let any = permitted | inheritable;
    if effective != 0 && effective != any {
        return Err(NotCapText::MixedEffective(text.to_owned()));
    }
    if any == 0 {
        return Err(NotCapText::Clause(text.to_owned()));
    }
    Ok(FileCaps { permitted, inheritable, effective: effective != 0, rootid: None })
}

fn names_to_set(names: &str) -> Result<u64, NotCapText> {
    if names.is_empty() || names.eq_ignore_ascii_case("all") {
        return Ok(caps::all().into_iter().map(|c| 1 << c.index()).sum());
    }
    names.split(',').try_fold(0, |set, name| {
        let capability: Capability = name.to_uppercase().parse().map_err(|_| NotCapText::Name(name.to_owned()))?;
        Ok(set | 1 << capability.index())
    })
}

/// Writes the set as `cap_to_text(3)` would: one clause for each combination of flags.
pub(super) fn write(caps: &FileCaps) -> String {
    let mut clauses = Vec::new();
    for (permitted, inheritable, flags) in [(true, true, "ip"), (true, false, "p"), (false, true, "i")] {
        let select = |set: u64, wanted: bool| if wanted { set } else { !set };
        let set = select(caps.permitted, permitted) & select(caps.inheritable, inheritable);
        let names: Vec<_> = (0..64).filter(|n| set & (1 << n) != 0).map(name).collect();
        if !names.is_empty() {
            let effective = if caps.effective { "e" } else { "" };
            clauses.push(format!("{}={effective}{flags}", names.join(",")));
        }
    }
    if clauses.is_empty() {
        clauses.push("=".to_owned());
    }
    if let Some(rootid) = caps.rootid {
        clauses.push(format!("[rootid={rootid}]"));
    }
    clauses.join(" ")
}

pub(super) fn name(index: u8) -> String {
    caps::all()
        .into_iter()
        .find(|c| c.index() == index)
        .map_or_else(|| index.to_string(), |c| c.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::FileCaps;

    #[test]
    fn reads_the_forms_people_write() {
        for text in [
            "cap_net_bind_service=ep",
            "cap_net_bind_service=+ep",
            "cap_net_bind_service+ep",
            "CAP_NET_BIND_SERVICE=pe",
        ] {
            assert_eq!(text.parse::<FileCaps>().unwrap().to_string(), "cap_net_bind_service=ep", "{text}");
        }
        let two: FileCaps = "cap_chown,cap_net_bind_service=p cap_chown-p".parse().unwrap();
        assert_eq!(two.to_string(), "cap_net_bind_service=p");
        let sets: FileCaps = "cap_chown=eip cap_kill=ep".parse().unwrap();
        assert_eq!(sets.to_string(), "cap_chown=eip cap_kill=ep");
    }

    #[test]
    fn refuses_what_a_file_cannot_hold() {
        for text in
            ["", "cap_chown", "cap_nothing=ep", "cap_chown=x", "cap_chown=ep cap_kill=p", "cap_chown=", "cap_chown+"]
        {
            assert!(text.parse::<FileCaps>().is_err(), "{text}");
        }
    }
}

//! The arguments of a command by flag, so that two command lines can be compared by what they ask for.

/// One argument: a flag with its value, or a word that belongs to none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flag {
    /// `--config`, `-v`; `None` for an operand.
    pub name: Option<String>,
    /// The flag's value, or the operand itself.
    pub value: Option<String>,
}

impl Flag {
    /// How it is said: `--config /etc/rune.yaml`, `--debug`, `serve`.
    #[must_use]
    pub fn shown(&self) -> String {
        [self.name.as_deref(), self.value.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// `arguments` by flag. A word after a flag that is no flag itself counts as its value: nobody but the program knows
/// better, and equality is never decided here, only what a difference is called.
#[must_use]
pub fn flags(arguments: &[String]) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut words = arguments.iter().peekable();
    let mut operands_only = false;
    while let Some(word) = words.next() {
        if operands_only || !is_flag(word) {
            flags.push(Flag { name: None, value: Some(word.clone()) });
        } else if word == "--" {
            operands_only = true;
        } else if let Some((name, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
            flags.push(Flag { name: Some(name.to_owned()), value: Some(value.to_owned()) });
        } else {
            let value = words.next_if(|next| !is_flag(next)).cloned();
            flags.push(Flag { name: Some(word.clone()), value });
        }
    }
    flags
}

/// The value of the last `name VALUE` or `name=VALUE` among `arguments`.
#[must_use]
pub fn value_of<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let options = arguments.split(|word| word == "--").next().unwrap_or_default();
    let joined = |word: &'a String| word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
    let after = |index: usize| arguments.get(index + 1).map(String::as_str);
    options.iter().enumerate().rev().find_map(|(index, word)| if word == name { after(index) } else { joined(word) })
}

/// `-x` and `--xy`, but no number and not the lone `-` of standard input.
pub(super) fn is_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<String> {
        line.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn arguments_are_taken_by_flag() {
        let shown: Vec<_> =
            flags(&split("serve --a=1 --b 2 --c -d --e -1 -f - -- --g")).iter().map(Flag::shown).collect();
        assert_eq!(shown, ["serve", "--a 1", "--b 2", "--c", "-d", "--e -1", "-f -", "--g"]);
    }

    #[test]
    fn the_value_of_a_flag_is_its_last() {
        assert_eq!(value_of(&split("--config a --config=b"), "--config"), Some("b"));
        assert_eq!(value_of(&split("--config=a --config b"), "--config"), Some("b"));
        assert_eq!(value_of(&split("--configs=a x --config"), "--config"), None);
        assert_eq!(value_of(&split("x -- --config a"), "--config"), None);
    }
}

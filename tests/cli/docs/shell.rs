//! As much of the shell as the documents' command lines need: which programs they call, with which words.

/// The simple commands of a shell text, each as its words: every stage of a pipeline, what a wrapper runs after `--`, and
/// what stands in `sh -c '…'`.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for simple in simple_commands(text) {
        let words = shell_words::split(&simple).unwrap_or_else(|e| panic!("{e}: {simple}"));
        unwrap(&without_redirections(words), &mut found);
    }
    found
}

/// Adds the command and those inside it.
fn unwrap(words: &[String], found: &mut Vec<Vec<String>>) {
    let prefixes = words.iter().take_while(|word| *word == "sudo" || is_assignment(word)).count();
    let words = &words[prefixes..];
    let Some(program) = words.first() else { return };
    if program == "sh" {
        if let [_, flags, script, ..] = words
            && flags.starts_with('-')
            && flags.ends_with('c')
        {
            found.extend(commands(script));
        }
        return;
    }
    if let Some(dashes) = words.iter().position(|word| word == "--") {
        unwrap(&words[dashes + 1..], found);
    }
    found.push(words.to_vec());
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

fn without_redirections(words: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.trim_start_matches(|c: char| c.is_ascii_digit()) {
            // The file is the next word.
            "<" | ">" | ">>" => drop(words.next()),
            operator if operator.starts_with(['<', '>']) => {}
            _ => kept.push(word),
        }
    }
    kept
}

/// Splits at line ends, `;`, `|` and `&` outside quotes; drops comments.
fn simple_commands(text: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let current = commands.last_mut().expect("starts with one, never loses one");
        match (quote, c) {
            (None, '\\') if characters.next_if_eq(&'\n').is_some() => current.push(' '),
            (None | Some('"'), '\\') => {
                current.push(c);
                current.extend(characters.next());
            }
            (None, '#') if current.is_empty() || current.ends_with(' ') => {
                while characters.next_if(|next| *next != '\n').is_some() {}
            }
            (None, '\n' | ';' | '|' | '&') => commands.push(String::new()),
            (None, '\'' | '"') => {
                quote = Some(c);
                current.push(c);
            }
            (Some(open), _) if c == open => {
                quote = None;
                current.push(c);
            }
            _ => current.push(c),
        }
    }
    commands.retain(|command| !command.trim().is_empty());
    commands
}

#[test]
fn a_documented_chain_is_taken_apart() {
    let found = commands(
        "sudo A=1 fetch x --asset '{a} b' | # why\n  verify - >out 2> err &&\n guard n -- sh -ec '\n  swap -t \"c d\" \\\n f\n  wait u -- systemctl restart u'\n",
    );
    let expected: [&[&str]; 6] = [
        &["fetch", "x", "--asset", "{a} b"],
        &["verify", "-"],
        &["swap", "-t", "c d", "f"],
        &["systemctl", "restart", "u"],
        &["wait", "u", "--", "systemctl", "restart", "u"],
        &["guard", "n", "--", "sh", "-ec", "\n  swap -t \"c d\" \\\n f\n  wait u -- systemctl restart u"],
    ];
    assert_eq!(found, expected);
}

//! The commands that the documents name are those that `--help` knows.

use std::collections::BTreeMap;

use super::markdown::{Document, shell_commands};
use crate::world::World;

/// One command or subcommand, as its `--help` says it.
#[derive(Debug, Default)]
struct Command {
    subcommands: BTreeMap<String, Command>,
    needs_subcommand: bool,
    /// Options, and whether a value follows.
    options: BTreeMap<String, bool>,
    needed_options: Vec<String>,
    arguments_min: usize,
    arguments_max: usize,
}

impl Command {
    /// Walks the help of `path` and of everything below it.
    fn read(world: &World, path: &[&str]) -> Self {
        let mut command = Self::default();
        let help = world.ok(&[path, &["--help"]].concat());
        let mut section = "";
        for line in help.lines() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            match section {
                _ if line.starts_with("Usage: ") => command.read_usage(line),
                _ if indent == 0 && line.ends_with(':') => section = line,
                "Commands:" if indent == 2 => {
                    let name = text.split(' ').next().unwrap();
                    let below = match name {
                        "help" => Self { arguments_max: usize::MAX, ..Self::default() },
                        _ => Self::read(world, &[path, &[name]].concat()),
                    };
                    command.subcommands.insert(name.to_owned(), below);
                }
                // What explains an option stands further right.
                "Options:" if indent <= 6 && text.starts_with('-') => {
                    let head = text.split("  ").next().unwrap();
                    let names = head.split([' ', ',', '=']).filter(|word| word.starts_with('-'));
                    command.options.extend(names.map(|name| (name.to_owned(), head.contains('<'))));
                }
                _ => {}
            }
        }
        command
    }

    /// `Usage: clickgate events get [OPTIONS] --program <ID> <MESSAGE_ID>`
    fn read_usage(&mut self, line: &str) {
        let mut words = line.split(' ').peekable();
        while let Some(word) = words.next() {
            let is_repeated = word.ends_with("...");
            match word.trim_end_matches("...") {
                "<COMMAND>" => self.needs_subcommand = true,
                "[OPTIONS]" | "[COMMAND]" => {}
                word if word.starts_with("--") => {
                    self.needed_options.push(word.to_owned());
                    words.next_if(|value| value.starts_with('<'));
                }
                word if word.starts_with(['<', '[']) => {
                    self.arguments_min += usize::from(word.starts_with('<'));
                    self.arguments_max = if is_repeated { usize::MAX } else { self.arguments_max + 1 };
                }
                _ => {}
            }
        }
    }

    /// Whether `words` can be typed; of a whole command line also whether something is missing.
    fn check(&self, words: &[String], is_whole: bool) -> Result<(), String> {
        let (mut arguments, mut options) = (0, Vec::new());
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let name = word.split('=').next().unwrap();
            if name.len() > 1 && name.starts_with('-') {
                let takes_value = self.options.get(name).ok_or(format!("there is no option {name}"))?;
                if *takes_value && name == word && rest.next().is_none() && is_whole {
                    return Err(format!("{name} has no value"));
                }
                options.push(name);
            } else if self.subcommands.is_empty() {
                arguments += 1;
            } else {
                let below = self.subcommands.get(word).ok_or(format!("there is no subcommand {word}"))?;
                return below.check(rest.as_slice(), is_whole);
            }
        }
        let missing = self.needed_options.iter().find(|needed| !options.contains(&needed.as_str()));
        match missing {
            _ if arguments > self.arguments_max => Err(format!("{arguments} arguments are too many")),
            _ if is_whole && arguments < self.arguments_min => Err("an argument is missing".to_owned()),
            _ if is_whole && self.needs_subcommand => Err("the subcommand is missing".to_owned()),
            Some(missing) if is_whole => Err(format!("{missing} is missing")),
            _ => Ok(()),
        }
    }

    fn has_option(&self, name: &str) -> bool {
        self.options.contains_key(name) || self.subcommands.values().any(|below| below.has_option(name))
    }

    /// What is wrong with the commands of `document`.
    fn wrong_in(&self, document: &Document) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |line: usize, words: &[String], result: Result<(), String>| {
            let text = words.join(" ");
            wrong.extend(result.err().map(|reason| format!("{}:{line}: {text}: {reason}", document.name)));
        };
        for (line, span) in &document.spans {
            let words: Vec<String> = span.split_whitespace().map(str::to_owned).collect();
            match words.as_slice() {
                [first, rest @ ..] if is_clickgate(first) => say(*line, &words, self.check(rest, false)),
                // `log ship` without the name of the command.
                [first, _, ..] if self.subcommands.contains_key(first) => {
                    say(*line, &words, self.check(&words, false));
                }
                [option, ..] if option.starts_with("--") && !self.has_option(option) => {
                    say(*line, &words, Err("there is no such option".to_owned()));
                }
                _ => {}
            }
        }
        for block in document.blocks.iter().filter(|block| block.language == "sh") {
            let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for command in shell_commands(block) {
                if let [alias, meaning] = command.words.as_slice()
                    && alias == "alias"
                {
                    let (name, meaning) = meaning.split_once('=').unwrap();
                    let meaning = meaning.split_whitespace().map(str::to_owned).collect();
                    aliases.insert(name.to_owned(), meaning);
                    continue;
                }
                let is_variable = |word: &&String| word.starts_with("CLICKGATE__");
                let mut words: Vec<String> = command.words.iter().skip_while(is_variable).cloned().collect();
                if let Some(meaning) = words.first().and_then(|first| aliases.get(first)) {
                    words.splice(..1, meaning.clone());
                }
                if let [first, rest @ ..] = words.as_slice()
                    && is_clickgate(first)
                {
                    say(command.line, &words, self.check(rest, true));
                }
            }
        }
        wrong
    }
}

fn is_clickgate(word: &str) -> bool {
    word.rsplit('/').next() == Some("clickgate")
}

#[test]
fn every_command_that_is_named_can_be_typed() {
    let command = Command::read(&World::new(), &[]);
    let wrong: Vec<String> = Document::all().iter().flat_map(|document| command.wrong_in(document)).collect();
    assert_eq!(wrong, Vec::<String>::new());

    let wrong = |text: &str| command.wrong_in(&Document::of("README.md", text)).len();
    let fine = "`clickgate`, `clickgate log ship`, `log check`, `events get`, `--scan`, `clickgate help log`";
    assert_eq!(wrong(fine), 0);
    for text in ["`clickgate ups`", "`log shop`", "`--scam`", "`clickgate log check it`", "`log check --al`"]
    {
        assert_eq!(wrong(text), 1, "{text}");
    }
    let wrong = |line: &str| wrong(&format!("```sh\nalias c='clickgate --json'\n{line}\n```\n"));
    for line in ["target/release/clickgate", "A | c events get ID --program x", "c up &", "cat clickgate"] {
        assert_eq!(wrong(line), 0, "{line}");
    }
    let broken = ["c events", "c events get ID", "c log ship", "c evnets", "c up --data", "c --jsn up"];
    for line in broken {
        assert_eq!(wrong(line), 1, "{line}");
    }
}

/// `./test` takes few options, and says them itself.
#[test]
fn the_options_of_the_test_script_are_in_it() {
    let script = std::fs::read_to_string(format!("{}/test", super::markdown::ROOT)).unwrap();
    for document in Document::all() {
        for (line, span) in document.spans.iter().filter(|(_, span)| span.starts_with("./test ")) {
            for option in span.split(' ').filter(|word| word.starts_with("--")) {
                let is_known = script.split_whitespace().any(|word| word == option);
                assert!(is_known, "{}:{line}: {span}", document.name);
            }
        }
    }
}

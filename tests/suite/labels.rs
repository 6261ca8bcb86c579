//! Labels of equations: what the code cites from `theory/` exists there, under one name and once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a directory whose name ends like this, in order of their paths.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("cannot read {}: {e}", directory.display()));
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The label a text begins with: two digits, a hyphen, then small letters and hyphens, a letter last.
fn label(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.len() < 4 || !bytes[0].is_ascii_digit() || !bytes[1].is_ascii_digit() || bytes[2] != b'-' {
        return None;
    }
    let name = bytes[3..].iter().take_while(|b| b.is_ascii_lowercase() || **b == b'-').count();
    let label = text[..3 + name].trim_end_matches('-');
    (label.len() > 3).then_some(label)
}

/// Labels cited after "eq." or "eqs.", several of them joined by commas and "and".
fn citations(text: &str) -> Vec<String> {
    // A citation may run over the end of a comment line.
    let words: Vec<&str> = text.split_whitespace().filter(|word| !matches!(*word, "//" | "///" | "//!")).collect();
    let mut cited = Vec::new();
    let mut in_list = false;
    for word in words {
        if word.ends_with("eq.") || word.ends_with("eqs.") {
            in_list = true;
        } else if in_list {
            match label(word) {
                Some(label) => {
                    cited.push(label.to_string());
                    // Anything but a comma behind the label ends the list, unless "and" follows.
                    in_list = word[label.len()..].is_empty() || word[label.len()..] == *",";
                }
                None => in_list = word == "and",
            }
        }
    }
    cited
}

/// Labels between `before` and the character `after`, with their line numbers from 0.
fn marked<'a>(text: &'a str, before: &str, after: char) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some(position) = rest.find(before) {
            rest = &rest[position + before.len()..];
            let end = rest.find(after).unwrap_or_else(|| panic!("'{before}' is not closed in line: {line}"));
            found.push((number, &rest[..end]));
            rest = &rest[end..];
        }
    }
    found
}

#[test]
fn citations_are_read_from_comments() {
    let text = "/// (theory 02, eq. 02-pair and 02-triple). Later\n//! as in theory 05, eq.\n\
                //! 05-span, 05-zero-modes\n/// and 05-gap; and 03-not-cited; eq. none";
    assert_eq!(citations(text), ["02-pair", "02-triple", "05-span", "05-zero-modes", "05-gap"]);
    assert_eq!(label("04-one-sided)."), Some("04-one-sided"));
    assert_eq!(label("2-pair"), None);
    assert_eq!(label("02-"), None);
}

#[test]
fn theory_labels_cited_by_code_exist_and_are_unique() {
    let mut defined: BTreeMap<String, PathBuf> = BTreeMap::new();
    let notes = files(&root().join("theory"), ".md");
    assert!(!notes.is_empty(), "theory/ holds no notes");
    for note in &notes {
        let text = read(note);
        let file = note.file_name().expect("a file name").to_string_lossy().into_owned();
        let anchors = marked(&text, "<a id=\"eq-", '"');
        let tags = marked(&text, "\\tag{", '}');
        assert!(!anchors.is_empty(), "{file} has no labelled equation");
        assert_eq!(anchors.len(), tags.len(), "{file}: as many anchors as tags");
        for ((line, name), (tag_line, tag)) in anchors.iter().zip(&tags) {
            let number = line + 1;
            assert_eq!(label(name), Some(*name), "{file}:{number}: '{name}' is no label");
            assert_eq!(name, tag, "{file}:{number}: anchor and tag of one equation");
            assert!(
                tag_line > line && tag_line - line <= 12,
                "{file}:{number}: the tag of {name} stands in line {}",
                tag_line + 1
            );
            assert_eq!(name[..3], file[..3], "{file}:{number}: {name} belongs to another note");
            if let Some(other) = defined.insert((*name).to_string(), note.clone()) {
                panic!("{file}:{number}: {name} is defined in {} too", other.display());
            }
        }
        for (line, target) in marked(&text, "](#eq-", ')') {
            let is_here = anchors.iter().any(|(_, name)| *name == target);
            assert!(is_here, "{file}:{}: the link to {target} leads nowhere", line + 1);
        }
        // Tables of methods name equations without a link.
        for (line, row) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| `")) {
            for name in row.split([' ', ',']).filter_map(label) {
                assert!(
                    anchors.iter().any(|(_, known)| *known == name),
                    "{file}:{}: the table names {name}, which the note does not define",
                    line + 1
                );
            }
        }
    }
    let mut count = 0;
    for source in files(&root().join("src"), ".rs") {
        for name in citations(&read(&source)) {
            assert!(defined.contains_key(&name), "{} cites {name}, which no note defines", source.display());
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} citations found: has their form changed?");
}

//! The lines of the house: which room may import which, by which door an outside crate enters, and what no source holds.
//!
//! The checks read the sources as text, with comments, literals and test items blanked out, and name file and line. Each
//! is also given a small bad source, which it must refuse: a check that cannot fail proves nothing.

use std::path::{Path, PathBuf};

/// Each room with the rooms it may import. `landscape` has a door of its own to `store`: see [`STORE_USERS`].
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("report", &["error"]),
    ("numerics", &["error", "report"]),
    ("store", &["error", "report"]),
    ("model", &["error", "numerics"]),
    ("expectation", &["error", "numerics", "model"]),
    ("population", &["error", "numerics", "model", "expectation"]),
    ("dynamics", &["error", "numerics", "model", "expectation", "population"]),
    ("landscape", &["error", "numerics", "model", "expectation", "population", "dynamics", "store"]),
    // The witness knows no formula.
    ("simulation", &["error", "numerics", "model"]),
    (
        "study",
        &[
            "error",
            "report",
            "numerics",
            "store",
            "model",
            "expectation",
            "population",
            "dynamics",
            "landscape",
            "simulation",
        ],
    ),
    ("figure", &["error", "report"]),
    (
        "cli",
        &[
            "error",
            "report",
            "numerics",
            "store",
            "model",
            "expectation",
            "population",
            "dynamics",
            "landscape",
            "simulation",
            "study",
            "figure",
        ],
    ),
];

/// Files of `landscape` that may use `store`.
const STORE_USERS: &[&str] = &["src/landscape/catalogue.rs"];

/// Outside crates that may enter by one room only.
const DOORS: &[(&str, &str)] = &[
    ("faer", "numerics"),
    ("ndarray_linalg", "numerics"),
    ("argmin", "numerics"),
    ("argmin_math", "numerics"),
    ("ode_solvers", "numerics"),
    ("nalgebra", "numerics"),
    ("statrs", "numerics"),
    ("rusqlite", "store"),
    ("plotters", "figure"),
    ("dejavu", "figure"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("indicatif", "cli"),
    ("ctrlc", "cli"),
];

/// Functions outside `expectation` that take an inverse sine, cosine or tangent, with the reason.
const ANGLES: &[(&str, &str, &str)] =
    &[("src/population/gradient.rs", "refine", "angle of a nearly parallel pair, inside the kernel's own arrays")];

/// Texts of the `expect` calls outside tests: each states why it cannot fail.
const EXPECTATIONS: &[&str] = &["a fresh array is contiguous", "standard layout is contiguous", "eight entries"];

/// Most lines of a source file, its tests not counted.
const LONGEST: usize = 500;

// ---------------------------------------------------------------------------------------------------------------------
// Reading sources
// ---------------------------------------------------------------------------------------------------------------------

/// A source file with everything blanked that is not code, position by position.
struct Source {
    /// From the repository root, with `/`.
    path: String,
    /// Comments, contents of literals and test items are blanks.
    code: Vec<char>,
    /// The same with the contents of strings kept.
    text: Vec<char>,
    /// Lines that belong to no test item.
    lines: usize,
    /// Files declared by `#[cfg(test)] mod name;`.
    test_files: Vec<String>,
}

impl Source {
    fn new(path: &str, source: &str) -> Source {
        let (mut text, mut code) = blank(source);
        let mut lines = source.lines().count();
        let mut test_files = Vec::new();
        let mut from = 0;
        while let Some((start, end)) = test_item(&code, from) {
            let item: String = code[start..end].iter().collect();
            if let Some((_, name)) = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod ")) {
                test_files.extend([format!("{name}.rs"), format!("{name}/mod.rs")].map(|f| child(path, &f)));
            }
            lines -= item.chars().filter(|&c| c == '\n').count() + 1;
            for at in start..end {
                if code[at] != '\n' {
                    (code[at], text[at]) = (' ', ' ');
                }
            }
            from = end;
        }
        Source { path: path.to_string(), code, text, lines, test_files }
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].iter().filter(|&&c| c == '\n').count() + 1
    }

    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().map_or("", |first| first.trim_end_matches(".rs"))
    }

    /// Number of `super::` that lead to the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count() - 1;
        if self.path.ends_with("/mod.rs") || self.path == "src/lib.rs" { parts - 1 } else { parts }
    }

    /// Identifiers with their positions.
    fn words(&self) -> Vec<(usize, String)> {
        let mut words = Vec::new();
        let mut at = 0;
        while at < self.code.len() {
            let start = at;
            while at < self.code.len() && is_word(self.code[at]) {
                at += 1;
            }
            if at > start {
                words.push((start, self.code[start..at].iter().collect()));
            } else {
                at += 1;
            }
        }
        words
    }

    /// Position after the blanks from `at`.
    fn skip(&self, mut at: usize) -> usize {
        while self.code.get(at).is_some_and(|c| c.is_whitespace()) {
            at += 1;
        }
        at
    }

    fn follows(&self, at: usize, text: &str) -> bool {
        let at = self.skip(at);
        text.chars().enumerate().all(|(i, c)| self.code.get(at + i) == Some(&c))
    }

    /// Last characters before `at` that are no blanks.
    fn before(&self, at: usize, n: usize) -> String {
        let mut found: Vec<char> =
            self.code[..at].iter().rev().filter(|c| !c.is_whitespace()).take(n).copied().collect();
        found.reverse();
        found.into_iter().collect()
    }

    /// First names of a path that begins at `at`: one, or one per branch of a `{...}` group.
    fn heads(&self, at: usize) -> Vec<(usize, String)> {
        let at = self.skip(at);
        let name = |from: usize| {
            let end = (from..self.code.len()).find(|&i| !is_word(self.code[i])).unwrap_or(self.code.len());
            (from, self.code[from..end].iter().collect::<String>())
        };
        match self.code.get(at) {
            Some('{') => {
                let mut heads = Vec::new();
                let (mut depth, mut fresh, mut i) = (1, true, at + 1);
                while depth > 0 && i < self.code.len() {
                    match self.code[i] {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => fresh = true,
                        c if depth == 1 && fresh && !c.is_whitespace() => {
                            heads.push(if c == '*' { (i, "*".into()) } else { name(i) });
                            fresh = false;
                        }
                        _ => {}
                    }
                    i += 1;
                }
                heads
            }
            Some('*') => vec![(at, "*".into())],
            Some(_) => vec![name(at)],
            None => Vec::new(),
        }
    }

    /// Rooms this file names, by `crate::` or by `super::` up to the root, with positions.
    fn rooms_used(&self) -> Vec<(usize, String)> {
        let words = self.words();
        let mut used = Vec::new();
        for (i, (at, word)) in words.iter().enumerate() {
            if word == "crate" && self.follows(at + 5, "::") {
                used.extend(self.heads(self.skip(at + 5) + 2));
            }
            let first = word == "super" && !(i > 0 && words[i - 1].1 == "super" && self.before(*at, 2) == "::");
            if first && self.follows(at + 5, "::") {
                let chain = words[i..].iter().take_while(|(_, word)| word == "super").count();
                let last = words[i + chain - 1].0;
                if chain >= self.depth() && self.follows(last + 5, "::") {
                    let heads = self.heads(self.skip(last + 5) + 2);
                    used.extend(heads.into_iter().filter(|(_, head)| ROOMS.iter().any(|(room, _)| room == head)));
                }
            }
        }
        used
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The file of a module declared in `path`.
fn child(path: &str, file: &str) -> String {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => format!("{directory}/{file}"),
        _ => format!("{}/{file}", path.trim_end_matches(".rs")),
    }
}

/// The source without comments, and without comments and contents of literals.
fn blank(source: &str) -> (Vec<char>, Vec<char>) {
    let mut text: Vec<char> = source.chars().collect();
    let mut code = text.clone();
    let n = text.len();
    let is = |text: &[char], at: usize, what: &str| what.chars().enumerate().all(|(i, c)| text.get(at + i) == Some(&c));
    let clear = |chars: &mut [char]| chars.iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
    let mut i = 0;
    while i < n {
        let start = i;
        let raw = text[i] == 'r' && (i == 0 || !is_word(text[i - 1]) || is_prefix(&text, i));
        let hashes = if raw { text[i + 1..].iter().take_while(|&&c| c == '#').count() } else { 0 };
        if is(&text, i, "//") {
            i += text[i..].iter().take_while(|&&c| c != '\n').count();
            clear(&mut text[start..i]);
            clear(&mut code[start..i]);
        } else if is(&text, i, "/*") {
            let mut depth = 0;
            loop {
                if is(&text, i, "/*") {
                    (depth, i) = (depth + 1, i + 2);
                } else if is(&text, i, "*/") {
                    (depth, i) = (depth - 1, i + 2);
                } else {
                    i += 1;
                }
                if depth == 0 || i >= n {
                    break;
                }
            }
            let end = i.min(n);
            clear(&mut text[start..end]);
            clear(&mut code[start..end]);
        } else if raw && text.get(i + 1 + hashes) == Some(&'"') {
            let close = format!("\"{}", "#".repeat(hashes));
            i += 2 + hashes;
            let inside = i;
            while i < n && !is(&text, i, &close) {
                i += 1;
            }
            clear(&mut code[inside..i]);
            i += close.len();
        } else if text[i] == '"' {
            i += 1;
            while i < n && text[i] != '"' {
                i += if text[i] == '\\' { 2 } else { 1 };
            }
            clear(&mut code[start + 1..i.min(n)]);
            i += 1;
        } else if text[i] == '\'' && (is(&text, i + 1, "\\") || is(&text, i + 2, "'")) {
            i += if text[i + 1] == '\\' { 3 } else { 2 };
            while i < n && text[i] != '\'' {
                i += 1;
            }
            clear(&mut code[start..(i + 1).min(n)]);
            clear(&mut text[start..(i + 1).min(n)]);
            i += 1;
        } else {
            i += 1;
        }
    }
    (text, code)
}

/// Whether the letter before position i is the whole prefix of a raw byte or C string (`br"`, `cr"`).
fn is_prefix(text: &[char], i: usize) -> bool {
    matches!(text[i - 1], 'b' | 'c') && (i == 1 || !is_word(text[i - 2]))
}

/// The next item marked `#[cfg(test)]` or `#[test]` from a position on: first position and end.
fn test_item(code: &[char], from: usize) -> Option<(usize, usize)> {
    let mut i = from;
    while i + 1 < code.len() {
        if code[i] != '#' || code[i + 1] != '[' {
            i += 1;
            continue;
        }
        let end = closing(code, i + 1);
        let attribute: String = code[i..end].iter().filter(|c| !c.is_whitespace()).collect();
        let has = |name: &str| attribute.split(|c| !is_word(c)).any(|word| word == name);
        if attribute != "#[test]" && !(attribute.starts_with("#[cfg(") && has("test") && !has("not")) {
            i = end;
            continue;
        }
        let mut at = end;
        while at < code.len() {
            match code[at] {
                '(' | '[' => at = closing(code, at),
                ';' => return Some((i, at + 1)),
                '{' => return Some((i, closing(code, at))),
                _ => at += 1,
            }
        }
        return Some((i, code.len()));
    }
    None
}

/// The position after the bracket that closes the one at `open`.
fn closing(code: &[char], open: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code.iter().enumerate().skip(open) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder of the repository, as paths from its root in alphabetical order.
fn files(folder: &str) -> Vec<String> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let relative = |path: &PathBuf| path.strip_prefix(root()).map(|p| p.to_string_lossy().replace('\\', "/"));
    let mut names: Vec<String> = found.iter().flat_map(relative).collect();
    names.sort();
    names
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

/// Every source of the library and the program, without the files that are tests.
fn library() -> Vec<Source> {
    let names: Vec<String> = files("src").into_iter().filter(|name| name.ends_with(".rs")).collect();
    let mut sources: Vec<Source> = names.iter().map(|name| Source::new(name, &read(name))).collect();
    let tests: Vec<String> = sources.iter().flat_map(|source| source.test_files.clone()).collect();
    sources.retain(|source| !tests.contains(&source.path));
    assert!(sources.len() > 40, "only {} sources found in {}", sources.len(), root().display());
    sources
}

/// Fails with the list of all violations.
fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

// ---------------------------------------------------------------------------------------------------------------------
// The checks: violations as `file:line: what`
// ---------------------------------------------------------------------------------------------------------------------

fn imports(source: &Source) -> Vec<String> {
    if source.path == "src/lib.rs" {
        return Vec::new();
    }
    let mut violations = Vec::new();
    if source.path == "src/main.rs" {
        for (at, word) in source.words() {
            if word == "committee" && !source.follows(at + 9, "::cli::") {
                violations.push(format!("src/main.rs:{}: main uses more than `committee::cli`", source.line(at)));
            }
        }
        return violations;
    }
    let room = source.room();
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}:1: `{room}` is no room of the house: give it a row in ROOMS", source.path)];
    };
    for (at, used) in source.rooms_used() {
        let (path, line) = (&source.path, source.line(at));
        if used != room && !allowed.contains(&used.as_str()) {
            violations.push(format!("{path}:{line}: `{room}` uses `{used}`; it may use {allowed:?}"));
        } else if room == "landscape" && used == "store" && !STORE_USERS.contains(&path.as_str()) {
            violations.push(format!("{path}:{line}: uses `store`; in `landscape` only {STORE_USERS:?} may"));
        }
    }
    violations
}

fn doors(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (at, word) in source.words() {
        let Some((name, room)) = DOORS.iter().find(|(name, _)| *name == word) else { continue };
        let before = source.before(at, 3);
        // `a::faer::b` is a module of ours, `::faer::b` and `faer::b` are the crate.
        let inner = before.ends_with("::") && before.chars().next().is_some_and(is_word);
        let imported = ["use", "ate"].iter().any(|end| before.ends_with(end));
        let is_crate = !inner && (source.follows(at + name.len(), "::") || imported);
        if is_crate && source.room() != *room {
            violations.push(format!("{}:{}: crate `{name}` enters by `{room}` only", source.path, source.line(at)));
        }
    }
    violations
}

/// Inverse trigonometric functions as (file, function, line).
fn angles(source: &Source) -> Vec<(String, String, usize)> {
    let words = source.words();
    let mut found = Vec::new();
    let mut function = String::new();
    for (i, (at, word)) in words.iter().enumerate() {
        if i > 0 && words[i - 1].1 == "fn" {
            function.clone_from(word);
        }
        let is_inverse = ["asin", "acos", "atan", "atan2"].contains(&word.as_str());
        if is_inverse && source.room() != "expectation" {
            found.push((source.path.clone(), function.clone(), source.line(*at)));
        }
    }
    found
}

fn is_listed(path: &str, function: &str) -> bool {
    ANGLES.iter().any(|(file, name, _)| (*file, *name) == (path, function))
}

fn formulas(source: &Source) -> Vec<String> {
    let strange = angles(source).into_iter().filter(|(path, function, _)| !is_listed(path, function));
    strange
        .map(|(path, function, line)| {
            format!("{path}:{line}: `{function}` takes an angle itself: angles are taken in `expectation`")
        })
        .collect()
}

/// Texts of the `expect` calls, with positions; `None` where the argument is no plain string.
fn expects(source: &Source) -> Vec<(usize, Option<String>)> {
    let mut found = Vec::new();
    for (at, word) in source.words() {
        if word == "expect" && source.follows(at + 6, "(") && source.before(at, 1) == "." {
            let open = source.skip(source.skip(at + 6) + 1);
            let rest = source.text.get(open + 1..).unwrap_or_default();
            let text = (source.code.get(open) == Some(&'"')).then(|| rest.iter().take_while(|c| **c != '"').collect());
            found.push((at, text));
        }
    }
    found
}

fn panics(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    let mut refuse = |at: usize, what: &str| {
        violations.push(format!("{}:{}: {what} outside tests: return an error", source.path, source.line(at)));
    };
    for (at, word) in source.words() {
        let after = at + word.chars().count();
        match word.as_str() {
            "unwrap" if source.follows(after, "(") && source.before(at, 1) == "." => refuse(at, "unwrap"),
            "panic" | "todo" | "unimplemented" if source.follows(after, "!") => refuse(at, &format!("{word}!")),
            _ => {}
        }
    }
    for (at, text) in expects(source) {
        if !text.as_ref().is_some_and(|text| EXPECTATIONS.contains(&text.as_str())) {
            refuse(at, &format!("expect with {text:?}, not in EXPECTATIONS,"));
        }
    }
    violations
}

/// Takes sources with their tests.
fn ignored_tests(path: &str, source: &str) -> Vec<String> {
    let (_, code) = blank(source);
    let whole = Source { path: path.into(), text: Vec::new(), code, lines: 0, test_files: Vec::new() };
    let in_attribute = |at: usize| {
        let before: String = whole.code[..at].iter().collect();
        before.rfind("#[").is_some_and(|open| !before[open..].contains(']'))
    };
    let words = whole.words().into_iter().filter(|(at, word)| word == "ignore" && in_attribute(*at));
    words.map(|(at, _)| format!("{path}:{}: ignored test outside tests/evidence", whole.line(at))).collect()
}

fn length(source: &Source) -> Vec<String> {
    if source.lines <= LONGEST {
        return Vec::new();
    }
    let (path, lines) = (&source.path, source.lines);
    vec![format!("{path}:{LONGEST}: {lines} lines without tests, at most {LONGEST}: split it")]
}

/// Beginnings of paths on somebody's machine, in halves so that this file passes its own check.
const ROOTS: &[[&str; 2]] = &[["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["/m", "nt/"]];

/// Absolute paths of one machine, and relative ones that leave the repository by two or more steps.
fn private_paths(path: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let starts =
        |line: &str, at: usize| !line[..at].chars().next_back().is_some_and(|c| is_word(c) || "-.~}/".contains(c));
    for (number, line) in text.lines().enumerate() {
        for root in ROOTS.iter().map(|halves| halves.concat()) {
            if line.match_indices(&root).any(|(at, _)| starts(line, at)) {
                violations.push(format!("{path}:{}: refers to `{root}`, a path of one machine", number + 1));
            }
        }
    }
    violations
}

// ---------------------------------------------------------------------------------------------------------------------
// The repository holds the lines
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn rooms_import_only_what_they_may() {
    none(library().iter().flat_map(imports).collect());
}

/// A new room needs a row in `ROOMS`, and a row may not allow what has no row.
#[test]
fn every_room_has_a_rule() {
    let lib = Source::new("src/lib.rs", &read("src/lib.rs"));
    let words = lib.words();
    let declared = words.windows(2).filter(|pair| pair[0].1 == "mod").map(|pair| &pair[1]);
    let known = |name: &str| ROOMS.iter().any(|(room, _)| *room == name);
    none(
        declared
            .filter(|(_, name)| !known(name))
            .map(|(at, name)| format!("src/lib.rs:{}: `{name}` has no row in ROOMS", lib.line(*at)))
            .collect(),
    );
    assert!(ROOMS.iter().flat_map(|(_, allowed)| allowed.iter()).all(|room| known(room)));
}

#[test]
fn outside_crates_enter_by_their_doors() {
    none(library().iter().flat_map(doors).collect());
}

#[test]
fn angles_are_taken_in_expectation_only() {
    let sources = library();
    none(sources.iter().flat_map(formulas).collect());
    let found: Vec<_> = sources.iter().flat_map(angles).collect();
    for (file, function, reason) in ANGLES {
        let is_used = found.iter().any(|(path, name, _)| (path.as_str(), name.as_str()) == (*file, *function));
        assert!(is_used, "{file}: `{function}` takes no angle any more; remove its exception ({reason})");
    }
}

#[test]
fn nothing_panics_outside_tests() {
    let sources = library();
    none(sources.iter().flat_map(panics).collect());
    let texts: Vec<String> = sources.iter().flat_map(expects).filter_map(|(_, text)| text).collect();
    for text in EXPECTATIONS {
        assert!(texts.iter().any(|found| found == text), "no `expect(\"{text}\")` is left; remove it from the list");
    }
}

#[test]
fn tests_are_ignored_in_the_evidence_tier_only() {
    let sources = ["src", "tests", "benches", "examples"].iter().flat_map(|folder| files(folder));
    let rust = sources.filter(|name| name.ends_with(".rs") && !name.starts_with("tests/evidence/"));
    none(rust.flat_map(|name| ignored_tests(&name, &read(&name))).collect());
}

#[test]
fn files_stay_short() {
    none(library().iter().flat_map(length).collect());
}

#[test]
fn no_text_points_outside_the_repository() {
    let folders = ["src", "tests", "benches", "examples", "theory", "figures", ".ci", ".github"];
    let mut names: Vec<String> = folders.iter().flat_map(|folder| files(folder)).collect();
    let kept = |name: &str| {
        let known = [".md", ".toml", ".cff", ".rs"].iter().any(|end| name.ends_with(end));
        known || name.starts_with("LICENSE") || ["NOTICE", ".gitignore"].contains(&name)
    };
    let entries = std::fs::read_dir(root()).expect("the repository can be listed").flatten();
    names.extend(entries.map(|e| e.file_name().to_string_lossy().into_owned()).filter(|name| kept(name)));
    none(names.iter().flat_map(|name| private_paths(name, &read(name))).collect());
}

// ---------------------------------------------------------------------------------------------------------------------
// Every check can fail
// ---------------------------------------------------------------------------------------------------------------------

/// Expects exactly these lines to be refused.
fn refused(violations: &[String], path: &str, lines: &[usize]) {
    let expected: Vec<String> = lines.iter().map(|line| format!("{path}:{line}: ")).collect();
    let matches = violations.len() == lines.len() && violations.iter().zip(&expected).all(|(v, e)| v.starts_with(e));
    assert!(matches, "expected {expected:?}, found {violations:#?}");
}

#[test]
fn blanking_keeps_code_and_drops_the_rest() {
    let source = "// crate::cli\n/* a /* nested */ crate::cli */ let s = \"crate::cli \\\" //\"; // x\n\
                  let r = r#\"crate::cli \" //\"#; let c = '\"'; let t: &'a str = b\"/*\"; let q = '\\''; kept();\n\
                  #[cfg(test)]\nmod tests {\n    use crate::cli;\n}\nlast();\n";
    let parsed = Source::new("src/model/x.rs", source);
    let code: String = parsed.code.iter().collect();
    assert!(parsed.rooms_used().is_empty(), "{code}");
    assert_eq!(code.len(), source.len());
    assert!(code.contains("kept();") && code.contains("last();") && !code.contains("tests"), "{code}");
    assert_eq!((parsed.lines, parsed.line(code.find("last").unwrap_or(0))), (4, 8));
    let outer = Source::new("src/store/mod.rs", "#[cfg(test)]\nmod tests;\nuse crate::error::Error;\n");
    assert_eq!(outer.test_files, ["src/store/tests.rs", "src/store/tests/mod.rs"]);
    assert_eq!(outer.rooms_used().len(), 1);
    assert_eq!(child("src/model/file.rs", "tests.rs"), "src/model/file/tests.rs");
}

#[test]
fn a_forbidden_import_is_refused() {
    let of = |path: &str, source: &str| imports(&Source::new(path, source));
    let simulation = "use crate::{error::Error, population::risk, model};\nfn f() { crate::dynamics::evolve() }\n";
    refused(&of("src/simulation/chain.rs", simulation), "src/simulation/chain.rs", &[1, 2]);
    refused(&of("src/model/file.rs", "\nuse super::super::landscape::Point;\n"), "src/model/file.rs", &[2]);
    refused(&of("src/model/mod.rs", "use super::figure;\nuse crate::*;\n"), "src/model/mod.rs", &[1, 2]);
    refused(&of("src/landscape/point.rs", "use crate::store::Store;\n"), "src/landscape/point.rs", &[1]);
    refused(&of("src/landscape/catalogue.rs", "use crate::store::Store;\n"), "", &[]);
    refused(&of("src/attic/mod.rs", ""), "src/attic/mod.rs", &[1]);
    refused(&of("src/error.rs", "use crate::report::Table;\n"), "src/error.rs", &[1]);
    refused(&of("src/main.rs", "fn main() { committee::study::flow() }\n"), "src/main.rs", &[1]);
    refused(&of("src/main.rs", "fn main() { committee::cli::main() }\n"), "", &[]);
}

#[test]
fn a_crate_at_the_wrong_door_is_refused() {
    let of = |path: &str, source: &str| doors(&Source::new(path, source));
    let source =
        "use faer::Mat;\nuse {statrs::function, ndarray::Array2};\nfn f() { rusqlite::params![] }\nuse clap;\n";
    refused(&of("src/population/risk.rs", source), "src/population/risk.rs", &[1, 2, 3, 4]);
    refused(&of("src/numerics/optimise.rs", "use argmin::core::Executor;\nuse ::faer::Mat;\n"), "", &[]);
    refused(&of("src/landscape/point.rs", "use crate::numerics::argmin::go;\nlet argmin = 1;\n"), "", &[]);
}

#[test]
fn an_angle_outside_expectation_is_refused() {
    let source = "fn refine() { x.asin() }\nfn other() { y.acos(); f64::atan2(a, b) }\n// z.atan()\n";
    let path = "src/population/gradient.rs";
    refused(&formulas(&Source::new(path, source)), path, &[2, 2]);
    refused(&formulas(&Source::new("src/expectation/pair.rs", source)), "", &[]);
}

#[test]
fn a_panic_outside_tests_is_refused() {
    let source = "fn f() {\n    x.unwrap();\n    todo!();\n    y.expect(\"eight entries\");\n    panic!(\"no\")\n}\n\
                  fn g() { z.expect(\"luck\"); z.expect(text); z.unwrap_or(0) }\n\
                  #[cfg(test)]\nmod tests {\n    fn h() { x.unwrap(); panic!() }\n}\n";
    let path = "src/model/file.rs";
    refused(&panics(&Source::new(path, source)), path, &[2, 3, 5, 7, 7]);
}

#[test]
fn an_ignored_test_is_refused() {
    let source = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(debug_assertions, ignore)]\nfn ignore() {}\n";
    refused(&ignored_tests("tests/suite/x.rs", source), "tests/suite/x.rs", &[2, 4]);
}

#[test]
fn a_long_file_is_refused() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn t() {}\n".repeat(300));
    let of = |lines: usize| Source::new("src/model/x.rs", &format!("{}{tests}", "fn f() {}\n".repeat(lines)));
    refused(&length(&of(LONGEST)), "", &[]);
    refused(&length(&of(LONGEST + 1)), "src/model/x.rs", &[LONGEST]);
}

#[test]
fn a_private_path_is_refused() {
    let [first, second] = ["/ho", "/ro"].map(|half| half.to_string());
    let text = format!("fine\nsee {first}me/me/design.md\n`{second}ot/x`\n");
    refused(&private_paths("README.md", &text), "README.md", &[2, 3]);
    refused(&private_paths("README.md", &format!("a{first}me/x, https://x.org{first}me/\n")), "", &[]);
}

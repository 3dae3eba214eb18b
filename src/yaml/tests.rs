use std::time::Duration;

use crate::yaml::Document;
use crate::yaml::node::Node;

/// Reads `text` with `read` and gives back what it returned and the rendered problems.
fn read<T>(text: &str, read: impl FnOnce(Node<'_>) -> T) -> (T, String) {
    let document = Document::parse("file.yaml", text);
    let value = read(document.root());
    (value, document.problems().to_string())
}

/// The problems of reading the one value `v` with `read`.
fn value<T>(text: &str, read_value: impl FnOnce(Node<'_>) -> Option<T>) -> (Option<T>, String) {
    read(&format!("v: {text}\n"), |root| {
        let mut fields = root.fields().unwrap();
        let value = fields.required("v").and_then(read_value);
        fields.done();
        value
    })
}

#[test]
fn an_unknown_key_gets_a_suggestion_and_a_caret() {
    let ((), text) = read("name: x\ntimout: 5s\n", |root| {
        let mut fields = root.fields().unwrap();
        let _ = fields.required("name");
        let _ = fields.optional("timeout");
        fields.done();
    });
    insta::assert_snapshot!(text, @r#"
    error: unknown key `timout`
     --> file.yaml:2:1
      |
    2 | timout: 5s
      | ^^^^^^ did you mean `timeout`?
    "#);
}

#[test]
fn all_problems_of_a_file_are_reported_in_the_order_of_the_text() {
    let text = "count: many\nflag: yes\nflag: true\nlist: 5\nextra: 1\n";
    let ((), text) = read(text, |root| {
        let mut fields = root.fields().unwrap();
        let _ = fields.required("missing");
        let _ = fields.optional("list").and_then(|node| node.list());
        let _ = fields.optional("count").and_then(|node| node.u64());
        let _ = fields.optional("flag").and_then(|node| node.bool());
        fields.done();
    });
    insta::assert_snapshot!(text, @r#"
    error: `missing` is missing
     --> file.yaml:1:1
      |
    1 | count: many
      | ^^^^^^^^^^^

    error: expected a whole number, 0 or more
     --> file.yaml:1:8
      |
    1 | count: many
      |        ^^^^

    error: expected `true` or `false`
     --> file.yaml:2:7
      |
    2 | flag: yes
      |       ^^^

    error: `flag` is given twice
     --> file.yaml:3:1
      |
    2 | flag: yes
      | ---- first here
    3 | flag: true
      | ^^^^ again here

    error: expected a list
     --> file.yaml:4:7
      |
    4 | list: 5
      |       ^

    error: unknown key `extra`
     --> file.yaml:5:1
      |
    5 | extra: 1
      | ^^^^^ known here: missing, list, count, flag

    6 problems
    "#);
}

#[test]
fn text_that_is_not_yaml_is_reported_in_the_same_form() {
    let (parsed, text) = read("a: 1\nb: [1, 2\nc: 3\n", |root| root.spot().document.parsed());
    assert!(!parsed);
    insta::assert_snapshot!(text, @r#"
    error: not YAML: illegal placement of ':' indicator
     --> file.yaml:3:2
      |
    3 | c: 3
      |  ^
    "#);
}

#[test]
fn scalars_keep_the_spelling_of_the_author() {
    for text in ["1.10", "true", "0x10", "1_000", "5"] {
        assert_eq!(value(text, |node| node.string()), (Some(text.to_owned()), String::new()));
    }
    assert_eq!(value("!!str 5", |node| node.string()).0.as_deref(), Some("5"));
    assert_eq!(value("'a b'", |node| node.string()).0.as_deref(), Some("a b"));
}

#[test]
fn a_quoted_number_is_text() {
    insta::assert_snapshot!(value("'5'", |node| node.u64()).1, @r#"
    error: expected a whole number, 0 or more, found text
     --> file.yaml:1:4
      |
    1 | v: '5'
      |    ^^^ remove the quotes
    "#);
}

#[test]
fn times_and_sizes_take_units() {
    let times = [
        ("15", 15_000),
        ("15s", 15_000),
        ("0.5", 500),
        ("500ms", 500),
        ("1h30m", 5_400_000),
        ("1m 5s", 65_000),
        ("2d", 172_800_000),
    ];
    for (text, millis) in times {
        assert_eq!(value(text, |node| node.seconds()), (Some(Duration::from_millis(millis)), String::new()), "{text}");
    }
    for text in ["-1", "5 parsecs", "s", "''", "1e400", "99999999999999999999d", ".nan"] {
        assert_eq!(value(text, |node| node.seconds()).0, None, "{text}");
    }
    let sizes = [("65536", 65_536), ("64MiB", 64 << 20), ("512 KiB", 512 << 10), ("1gb", 1_000_000_000), ("1_0", 10)];
    for (text, bytes) in sizes {
        assert_eq!(value(text, |node| node.bytes()), (Some(bytes), String::new()), "{text}");
    }
    for text in ["-1", "1.5MiB", "64 furlongs", "MiB", "99999999999GiB"] {
        assert_eq!(value(text, |node| node.bytes()).0, None, "{text}");
    }
}

#[test]
fn a_key_without_a_value_is_as_good_as_absent() {
    let (value, text) = read("v:\n", |root| {
        let mut fields = root.fields().unwrap();
        let value = fields.optional("v").is_some();
        fields.done();
        value
    });
    assert_eq!((value, text.as_str()), (false, ""));
}

#[test]
fn an_empty_file_is_an_empty_map() {
    for text in ["", "# only a comment\n", "---\n"] {
        let (fields, text) = read(text, |root| root.fields().is_some());
        assert_eq!((fields, text.as_str()), (true, ""));
    }
}

#[test]
fn aliases_stand_for_their_anchor_and_cannot_explode() {
    let (value, text) = read("a: &x [1, 2]\nb: *x\n", |root| {
        let mut fields = root.fields().unwrap();
        let _ = fields.optional("a");
        let list = fields.optional("b").and_then(|node| node.list()).map(|list| list.len());
        fields.done();
        list
    });
    assert_eq!((value, text.as_str()), (Some(2), ""));
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..60 {
        let below = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [*a{below}, *a{below}]\n"));
    }
    assert!(Document::parse("bomb.yaml", &bomb).parsed());
}

#[test]
fn deep_nesting_ends_in_a_problem_not_in_a_crash() {
    let document = Document::parse("deep.yaml", &"[".repeat(100_000));
    assert!(!document.parsed());
    assert_eq!(document.problems().len(), 1);
}

#[test]
fn tags_second_documents_and_odd_keys_are_refused() {
    for (text, wanted) in [
        ("a: !thing 5\n", "YAML tags have no meaning here"),
        ("a: 1\n---\nb: 2\n", "a second document in one file"),
        ("[1]: 2\n", "a key has to be plain text"),
        ("a: &x [*x]\n", "an alias inside its own anchor"),
    ] {
        let problems = Document::parse("file.yaml", text).problems();
        let titles: Vec<_> = problems.iter().map(|problem| problem.title.as_str()).collect();
        assert_eq!(titles, [wanted], "{text}");
    }
}

#[test]
fn positions_count_characters_not_bytes() {
    let document = Document::parse("file.yaml", "ä: ö\n\"ü\": {é: 1, é: 2}\n");
    let problems = document.problems();
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.column), (2, 13));
}

#[test]
fn excerpts_do_not_show_secrets() {
    for text in [
        "api_key: swordfish\n",
        "DD-API-KEY: swordfish\n",
        "x: {password: swordfish}\n",
        "Authorization: Bearer swordfish\n",
        "url: https://admin:swordfish@host/metrics\n",
        "url: https://host/metrics?token=swordfish&x=1\n",
    ] {
        let ((), problems) = read(text, |root| root.fields().unwrap().done());
        assert!(!problems.contains("swordfish"), "{problems}");
    }
    let ((), problems) = read("password_file: /etc/key\n", |root| root.fields().unwrap().done());
    assert!(problems.contains("/etc/key"), "{problems}");
}

#[test]
fn a_word_outside_a_list_names_the_list() {
    let words = [("auto", 1), ("on", 2), ("off", 3)];
    assert_eq!(value("on", |node| node.word(&words)).0, Some(2));
    insta::assert_snapshot!(value("outo", |node| node.word(&words)).1, @r#"
    error: `outo` is none of `auto`, `on`, `off`
     --> file.yaml:1:4
      |
    1 | v: outo
      |    ^^^^ did you mean `auto`?
    "#);
}

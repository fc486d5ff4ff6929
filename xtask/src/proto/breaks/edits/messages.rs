//! Edits of messages and enums.

use super::{breaks, compatible, edit};

#[test]
fn a_field_that_changes_is_a_break() {
    breaks(&[
        (
            edit("message M { string a = 1; string b = 2; }", "message M { string a = 1; }"),
            "M.b: was removed, its number and name not reserved: \
             reserve number and name: `reserved 2; reserved \"b\";`",
        ),
        (
            edit("message M { string b = 2; }", "message M { reserved 2; }"),
            "M.b: was removed, its name not reserved: reserve name: `reserved \"b\";`",
        ),
        (
            edit("message M { string b = 2; }", "message M { reserved \"b\"; }"),
            "M.b: was removed, its number not reserved: reserve number: `reserved 2;`",
        ),
        (
            edit("message M { string a = 1; }", "message M { string a = 3; }"),
            "M.a: was renumbered from 1 to 3: give it number 1 again",
        ),
        (
            edit("message M { string a = 1; }", "message M { string b = 1; }"),
            "M.a: was renamed from a to b, which breaks JSON: \
             name it a again, or add a new field with a new number instead",
        ),
        (
            edit("message M { string a = 1; }", "message M { string a = 1 [json_name = \"b\"]; }"),
            "M.a: was renamed from a to b, which breaks JSON: restore its json_name",
        ),
        (
            edit("message M { reserved 4 to 6; }", "message M { reserved 4; }"),
            "M: the reservation of numbers 4 to 6 was dropped: reserve it again",
        ),
        (
            edit("message M { reserved \"a\"; }", "message M {}"),
            "M: the reservation of the name a was dropped: reserve it again",
        ),
    ]);
}

#[test]
fn a_type_that_changes_is_a_break() {
    const MEND: &str = "leave it, marked deprecated, and add a new field instead";
    for (was, is, from, to) in [
        ("string a = 1;", "int32 a = 1;", "string", "int32"),
        // Alike as bytes, but not as JSON.
        ("string a = 1;", "bytes a = 1;", "string", "bytes"),
        ("int32 a = 1;", "int64 a = 1;", "int32", "int64"),
        // Alike as JSON, but not as bytes.
        ("int32 a = 1;", "sint32 a = 1;", "int32", "sint32"),
        ("string a = 1;", "repeated string a = 1;", "string", "repeated string"),
        (
            "map<string, int32> a = 1;",
            "map<string, string> a = 1;",
            "map<string, int32>",
            "map<string, string>",
        ),
        (
            "A a = 1; message A {} message B {}",
            "B a = 1; message A {} message B {}",
            "mainstay.shop.v1.M.A",
            "mainstay.shop.v1.M.B",
        ),
    ] {
        let (was, is) = (format!("message M {{ {was} }}"), format!("message M {{ {is} }}"));
        let wanted = format!("M.a: changed from {from} to {to}: {MEND}");
        breaks(&[(edit(was.leak(), is.leak()), &wanted)]);
    }
    breaks(&[
        (
            edit("message M { string a = 1; }", "message M { oneof o { string a = 1; } }"),
            &format!("M.a: was moved into a oneof: {MEND}"),
        ),
        (
            edit("message M { oneof o { string a = 1; } }", "message M { string a = 1; }"),
            &format!("M.a: was moved out of its oneof: {MEND}"),
        ),
    ]);
}

#[test]
fn oneofs_do_not_merge() {
    let found = super::find(
        &super::pool("message M { oneof a { string b = 1; } oneof c { string d = 2; } }"),
        &super::pool("message M { oneof a { string b = 1; string d = 2; } }"),
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn what_both_sides_read_is_compatible() {
    compatible(&[
        edit(
            "message M { string a = 1; }",
            "message M { string a = 1; string b = 2; } message N {}",
        ),
        edit("message M { string a = 1; }", "message M { reserved 1; reserved \"a\"; }"),
        edit("message M { string a = 1; }", "message M { string a = 1 [deprecated = true]; }"),
        edit("message M { string a = 1; }", "message M { optional string a = 1; }"),
        edit("message M { int32 a = 1; }", "message M { uint32 a = 1; }"),
        edit("message M { map<string, int64> a = 1; }", "message M { map<string, uint64> a = 1; }"),
        edit("message M { reserved 4; }", "message M { reserved 3 to 6; }"),
        edit(
            "message M { oneof o { string a = 1; string b = 2; } }",
            "message M { reserved 2; reserved \"b\"; oneof p { string a = 1; string c = 3; } }",
        ),
    ]);
}

#[test]
fn an_enum_keeps_numbers_and_names() {
    breaks(&[
        (
            edit("enum E { A = 0; B = 1; }", "enum E { A = 0; }"),
            "E.B: was removed, its number and name not both reserved: \
             reserve number and name: `reserved 1; reserved \"B\";`",
        ),
        (
            edit("enum E { A = 0; B = 1; }", "enum E { A = 0; C = 1; }"),
            "E.B: was renamed to C, which breaks JSON: name it B again",
        ),
        (
            edit("enum E { A = 0; B = 1; }", "enum E { A = 0; B = 2; }"),
            "E.B: was renumbered from 1 to 2: give it number 1 again",
        ),
        (
            edit("enum E { A = 0; }", "enum E { option allow_alias = true; B = 0; A = 0; }"),
            "E.A: B was put first for number 0, which renames it in JSON: \
             list the new name after the old one",
        ),
        (
            edit("enum E { A = 0; reserved 2; }", "enum E { A = 0; }"),
            "E: the reservation of numbers 2 to 2 was dropped: reserve it again",
        ),
    ]);
    compatible(&[
        edit("enum E { A = 0; }", "enum E { A = 0; B = 1; }"),
        edit("enum E { A = 0; B = 1; }", "enum E { A = 0; reserved 1; reserved \"B\"; }"),
        edit("enum E { A = 0; }", "enum E { option allow_alias = true; A = 0; B = 0; }"),
    ]);
}

#[test]
fn nothing_leaves_its_package() {
    const RESTORE: &str =
        "restore it, marked deprecated; a new version of the package may leave it out";
    const V2: &str = "syntax = \"proto3\"; package mainstay.shop.v2;
        import \"google/api/annotations.proto\"; import \"mainstay/policy/v1/policy.proto\";
        message M { message N {} }";
    breaks(&[
        (edit("message M {}", ""), &format!("M: the message was removed: {RESTORE}")),
        (edit("enum E { A = 0; }", ""), &format!("E: the enum was removed: {RESTORE}")),
        (edit("service S {}", ""), &format!("S: the service was removed: {RESTORE}")),
        (
            edit("message M {}", V2),
            "M: the message moved from package mainstay.shop.v1 to mainstay.shop.v2: \
             leave it in mainstay.shop.v1; the other package may have a copy",
        ),
    ]);
}

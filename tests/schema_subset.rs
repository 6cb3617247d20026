//! A schema is understood whole or refused: every construct of XML Schema 1.0 that we do not ship is refused by its name.

use std::process::Command;

use autoxen::snippet;
use autoxen::xmf::{self, XMF_1_0_XSD, XMF_XSD};

/// Today's schema with `to` in place of the first `from`; libxml2 takes it where `valid`.
#[track_caller]
fn refused(from: &str, to: &str, valid: bool, message: &str) {
    assert!(XMF_XSD.contains(from), "{from}");
    let text = XMF_XSD.replacen(from, to, 1);
    let findings = xmf::read_schema(&text).expect_err(to);
    let messages: Vec<_> = findings.iter().map(|found| found.message.as_str()).collect();
    assert_eq!(messages, [message], "{to}");
    // The place is where the change is.
    let changed = text.find(to).expect("it was put in");
    let start = findings[0].span.start;
    assert!((changed..=changed + to.len()).contains(&start), "{to}: {start}");
    assert_eq!(is_schema(&text), valid, "{to}");
}

/// Whether xmllint takes the text for a schema.
fn is_schema(text: &str) -> bool {
    let directory = tempfile::tempdir().expect("a directory for the schema");
    let schema = directory.path().join("schema.xsd");
    std::fs::write(&schema, text).expect("room for the schema");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/examples/hello.xml");
    let output = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .args([schema.as_os_str(), example.as_ref()])
        .output()
        .expect("`xmllint` is needed: apt-get install libxml2-utils");
    // 5: the schema does not compile.
    output.status.code().expect("xmllint was not killed") != 5
}

const MEMORY: &str = "<xs:element name=\"memory\" type=\"xs:integer\">";
const BRIDGE: &str = "<xs:attribute name=\"bridge\" type=\"xs:string\"/>";
const PV: &str = "<xs:enumeration value=\"pv\"/>";

#[test]
fn both_schemas_are_xml_schema_to_xmllint_and_to_us() {
    for text in [XMF_1_0_XSD, XMF_XSD] {
        assert!(is_schema(text));
        if let Err(findings) = xmf::read_schema(text) {
            let shown: String =
                findings.iter().map(|found| snippet::render("xsd", text, found, false)).collect();
            panic!("{shown}");
        }
    }
}

#[test]
fn a_valid_construct_that_we_do_not_ship_is_refused_by_name() {
    let element = |attribute: &str| format!("{} {attribute}>", &MEMORY[..MEMORY.len() - 1]);
    for (attribute, name) in [
        ("nillable='true'", "nillable"),
        ("default='1'", "default"),
        ("fixed='1'", "fixed"),
        ("id='x'", "id"),
        ("block='#all'", "block"),
        ("form='qualified'", "form"),
    ] {
        let message = format!("attribute `{name}` of `element` is not supported");
        refused(MEMORY, &element(attribute), true, &message);
    }
    let attribute = |more: &str| BRIDGE.replace("/>", &format!(" {more}/>"));
    refused(
        BRIDGE,
        &attribute("default='b'"),
        true,
        "attribute `default` of `attribute` is not supported",
    );
    refused(BRIDGE, &attribute("use='prohibited'"), true, "`use=\"prohibited\"` is not supported");
    refused(
        BRIDGE,
        "<xs:attribute name='bridge'/>",
        true,
        "`attribute` without a type is not supported",
    );
    refused(
        BRIDGE,
        &format!("{BRIDGE}<xs:anyAttribute/>"),
        false,
        "`anyAttribute` is not supported in `complexType`",
    );

    let wrapped = |open: &str, close: &str| {
        format!("{open}<xs:element name='more' type='xs:string'/>{close}{MEMORY}")
    };
    for name in ["choice", "sequence"] {
        let text = wrapped(&format!("<xs:{name}>"), &format!("</xs:{name}>"));
        refused(MEMORY, &text, true, &format!("`{name}` is not supported in `sequence`"));
    }
    refused(
        MEMORY,
        &format!("<xs:any processContents='skip' namespace='##other'/>{MEMORY}"),
        true,
        "`any` is not supported in `sequence`",
    );
    for (facet, name) in [
        ("<xs:pattern value='p.*'/>", "pattern"),
        ("<xs:length value='2'/>", "length"),
        ("<xs:minLength value='2'/>", "minLength"),
        ("<xs:whiteSpace value='collapse'/>", "whiteSpace"),
    ] {
        let message = format!("`{name}` is not supported in `restriction`");
        refused(PV, &format!("{facet}{PV}"), true, &message);
    }
    let type_of = |name: &str| MEMORY.replace("xs:integer", name);
    for name in ["xs:decimal", "xs:boolean", "xs:anyURI", "xs:ID", "xs:NMTOKENS", "xs:anyType"] {
        refused(MEMORY, &type_of(name), true, &format!("type `{name}` is not supported"));
    }
    let top = "<xs:element name=\"xenmetaconfig\">";
    for (construct, name, valid) in [
        (
            "<xs:simpleType name='t'><xs:restriction base='xs:string'/></xs:simpleType>",
            "simpleType",
            true,
        ),
        ("<xs:complexType name='t'/>", "complexType", true),
        ("<xs:attribute name='t' type='xs:string'/>", "attribute", true),
        ("<xs:group name='t'><xs:sequence/></xs:group>", "group", true),
        ("<xs:notation name='t' public='p'/>", "notation", true),
        // libxml2 wants them before all else.
        ("<xs:import namespace='u'/>", "import", true),
        ("<xs:include schemaLocation='xmf-1.0.xsd'/>", "include", false),
    ] {
        let message = format!("`{name}` is not supported in `schema`");
        refused(top, &format!("{construct}{top}"), valid, &message);
    }
}

#[test]
fn what_is_no_xml_schema_at_all_is_refused_too() {
    refused(MEMORY, &MEMORY.replace("xs:integer", "integer"), false, "`integer` is no type");
    refused(MEMORY, &MEMORY.replace("xs:integer", "xs:intger"), false, "`xs:intger` is no type");
    refused(
        MEMORY,
        &MEMORY.replace("name=\"memory\"", "nam=\"memory\"").replace(" type", " name=\"m\" type"),
        false,
        "attribute `nam` of `element` is not supported",
    );
    refused(PV, "<xs:enumration value='pv'/>", false, "`xs:enumration` is no part of XML Schema");
    refused(PV, &format!("text {PV}"), false, "text in `restriction` means nothing");
    refused(PV, "<xs:enumeration/>", false, "`enumeration` needs the attribute `value`");
    refused(
        "<xs:maxInclusive value=\"512\"/>",
        "<xs:maxInclusive value=\"many\"/>",
        false,
        "`many` is not a whole number from 1 on",
    );
    refused("minOccurs=\"0\"", "minOccurs=\"some\"", false, "`some` is no number of times");
    refused(
        BRIDGE,
        &format!("{BRIDGE}{BRIDGE}"),
        false,
        "attribute `bridge` is declared twice here",
    );
}

#[test]
fn a_schema_in_any_other_clothes_is_the_same_schema() {
    // The prefix is a name like any other.
    let other = XMF_XSD.replace("xs:", "q:").replace("xmlns:xs", "xmlns:q");
    assert!(xmf::read_schema(&other).is_ok());
    let none = XMF_XSD.replace("xs:", "").replace("xmlns:xs", "xmlns");
    assert!(xmf::read_schema(&none).is_ok());
    let wrong = XMF_XSD.replace("2001/XMLSchema", "1999/XMLSchema");
    let findings = xmf::read_schema(&wrong).expect_err("another namespace");
    assert_eq!(findings[0].message, "`{http://www.w3.org/1999/XMLSchema}schema` is no schema");
}

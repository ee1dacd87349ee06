//! Decides what the names of the conformance space mean in our language of expressions.
//!
//! The W3C's documents leave open what depends on the data model: an attribute `conf:idVal="1=2"`
//! stands for "variable 1 equals 2". One table gives each of them its meaning; it knows no test.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use roxmltree::{Document, Node};

const SPACE: &str = "http://www.w3.org/2005/scxml-conformance";
const SCXML: &str = "http://www.w3.org/2005/07/scxml";
const PROCESSOR: &str = "http://www.w3.org/TR/scxml/#SCXMLEventProcessor";

/// The document with every name of the conformance space replaced.
pub(super) fn translated(text: &str) -> Result<String> {
    let document = Document::parse(text)?;
    let mut out = String::new();
    element(document.root_element(), true, &mut out)?;
    Ok(out)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn element(node: Node<'_, '_>, root: bool, out: &mut String) -> Result<()> {
    if node.tag_name().namespace() == Some(SPACE) {
        out.push_str(&stands_for(node)?);
        return Ok(());
    }
    let name = node.tag_name().name();
    let _ = write!(out, "<{name}");
    // Foreign content keeps its own namespace; ours is said once, or again inside of such.
    let above = node.parent_element().and_then(|parent| parent.tag_name().namespace());
    let space = node.tag_name().namespace();
    if root || space != above {
        let _ = write!(out, " xmlns=\"{}\"", escaped(space.unwrap_or_default()));
    }
    for attribute in node.attributes() {
        let (name, value) = if attribute.namespace() == Some(SPACE) {
            meaning(attribute.name(), attribute.value())?
        } else {
            (attribute.name().to_owned(), attribute.value().to_owned())
        };
        let _ = write!(out, " {name}=\"{}\"", escaped(&value));
    }
    out.push('>');
    for child in node.children() {
        if child.is_element() {
            element(child, false, out)?;
        } else if let Some(text) = child.text().filter(|_| child.is_text()) {
            out.push_str(&escaped(text));
        }
    }
    let _ = write!(out, "</{name}>");
    Ok(())
}

/// What an element of the conformance space stands for.
fn stands_for(node: Node<'_, '_>) -> Result<String> {
    let variable = |name: &str| format!("Var{}", node.attribute(name).unwrap_or_default());
    let assign = |to: &str, value: &str| {
        format!("<assign xmlns=\"{SCXML}\" location=\"{to}\" expr=\"{}\"/>", escaped(value))
    };
    let end = |id: &str| {
        format!(
            "<final xmlns=\"{SCXML}\" id=\"{id}\"><onentry>\
             <log label=\"Outcome\" expr=\"'{id}'\"/></onentry></final>"
        )
    };
    Ok(match node.tag_name().name() {
        "pass" => end("pass"),
        "fail" => end("fail"),
        "incrementID" => assign(&variable("id"), &format!("{} + 1", variable("id"))),
        "concatVars" | "sumVars" => {
            assign(&variable("id1"), &format!("{} + {}", variable("id1"), variable("id2")))
        }
        "extendArray" => assign(&variable("id"), &format!("{} + [4]", variable("id"))),
        "contentFoo" => format!("<content xmlns=\"{SCXML}\">foo</content>"),
        "someInlineVal" => "123".to_owned(),
        "array123" => "[1,2,3]".to_owned(),
        "script" => format!("<script xmlns=\"{SCXML}\">Var1 = 1</script>"),
        "sendToSender" => {
            let event = node.attribute("name").unwrap_or_default();
            format!(
                "<send xmlns=\"{SCXML}\" event=\"{event}\" targetexpr=\"_event.origin\" \
                 typeexpr=\"_event.origintype\"/>"
            )
        }
        other => bail!("conf:{other} has no meaning here"),
    })
}

/// `1=2` as its number, its operator in our language, and the rest.
fn comparison(value: &str) -> Result<(String, &'static str, String)> {
    let Some(at) = value.find(['=', '<', '>', '!']) else { bail!("{value} is no comparison") };
    let (left, rest) = value.split_at(at);
    for (sign, ours) in [
        ("==", "=="),
        ("!=", "!="),
        ("<=", "<="),
        (">=", ">="),
        ("=", "=="),
        ("<", "<"),
        (">", ">"),
    ] {
        if let Some(right) = rest.strip_prefix(sign) {
            return Ok((format!("Var{}", left.trim()), ours, right.trim().to_owned()));
        }
    }
    bail!("{value} is no comparison")
}

/// Two numbers with something between them.
fn pair(value: &str) -> Result<(String, String)> {
    let mut numbers = value.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.by_ref().find(|number| !number.is_empty());
    match (next(), next()) {
        (Some(one), Some(other)) => Ok((format!("Var{one}"), format!("Var{other}"))),
        _ => bail!("{value} is no pair"),
    }
}

/// The attribute that one of the conformance space stands for.
fn meaning(name: &str, value: &str) -> Result<(String, String)> {
    let variable = || format!("Var{value}");
    let (name, value) = match name {
        "targetpass" => ("target", "pass".to_owned()),
        "targetfail" => ("target", "fail".to_owned()),
        "datamodel" => ("datamodel", "whimbrel".to_owned()),
        "id" => ("id", variable()),
        "name" => ("name", variable()),
        "location" => ("location", variable()),
        "invalidLocation" => ("location", "foo.bar.baz".to_owned()),
        "systemVarLocation" => ("location", value.to_owned()),
        "item" => ("item", variable()),
        "illegalItem" => ("item", "'continue'".to_owned()),
        "index" => ("index", variable()),
        "arrayVar" | "arrayTextVar" => ("array", variable()),
        "illegalArray" => ("expr", "7".to_owned()),
        "idlocation" => ("idlocation", variable()),
        "namelist" => ("namelist", variable()),
        "invalidNamelist" => ("namelist", "\"foo".to_owned()),
        // Values.
        "expr" | "systemVarExpr" => ("expr", value.to_owned()),
        "quoteExpr" => ("expr", format!("'{value}'")),
        "varExpr" | "varChildExpr" => ("expr", variable()),
        "varNonexistentStruct" => ("expr", format!("Var{value}.bar")),
        "illegalExpr" => ("expr", "return".to_owned()),
        "invalidSessionID" | "invalidSendTypeExpr" => ("expr", "27".to_owned()),
        "eventName" => ("expr", "_event.name".to_owned()),
        "eventType" => ("expr", "_event.type".to_owned()),
        "eventSendid" => ("expr", "_event.sendid".to_owned()),
        "eventField" => ("expr", format!("_event.{value}")),
        "eventDataFieldValue" | "eventDataParamValue" => ("expr", format!("_event.data.{value}")),
        "eventDataNamelistValue" => ("expr", format!("_event.data.Var{value}")),
        "scxmlEventIOLocation" => ("expr", format!("_ioprocessors['{PROCESSOR}'].location")),
        // What a send, a cancel or an invocation says.
        "illegalTarget" => ("target", "baz".to_owned()),
        "unreachableTarget" => ("target", "#_scxml_foo".to_owned()),
        "targetVar" | "targetExpr" => ("targetexpr", variable()),
        "invalidSendType" => ("type", "27".to_owned()),
        "eventExpr" => ("eventexpr", variable()),
        "typeExpr" => ("typeexpr", variable()),
        "delay" => ("delayexpr", format!("'{value}s'")),
        "delayFromVar" => ("delayexpr", variable()),
        "sendIDExpr" => ("sendidexpr", variable()),
        "srcExpr" => ("srcexpr", variable()),
        // Conditions.
        other => ("cond", condition(other, value)?),
    };
    Ok((name.to_owned(), value))
}

fn condition(name: &str, value: &str) -> Result<String> {
    Ok(match name {
        "idVal" | "namelistIdVal" | "idSystemVarVal" => {
            let (variable, sign, right) = comparison(value)?;
            format!("{variable} {sign} {right}")
        }
        "idQuoteVal" => {
            let (variable, sign, right) = comparison(value)?;
            format!("{variable} {sign} '{right}'")
        }
        "varIdVal" | "compareIDVal" => {
            let (variable, sign, right) = comparison(value)?;
            let sign = if sign == "==" && name == "compareIDVal" { ">=" } else { sign };
            format!("{variable} {sign} Var{right}")
        }
        "VarEqVar" | "VarEqVarStruct" => {
            let (one, other) = pair(value)?;
            format!("{one} == {other}")
        }
        "varPrefix" => {
            let (one, other) = pair(value)?;
            format!("starts({other}, {one})")
        }
        "idSomeVal" => format!("Var{value} == 123"),
        "eventNameVal" => format!("_event.name == '{value}'"),
        "eventvarVal" => {
            let (variable, sign, right) = comparison(value)?;
            format!("_event.data['{variable}'] {sign} {right}")
        }
        "eventdataVal" => format!("_event.data == {value}"),
        "eventdataSomeVal" => "_event.data == 123".to_owned(),
        "emptyEventData" => "!defined(_event.data)".to_owned(),
        "nameVarVal" => format!("_name == '{value}'"),
        "inState" => format!("In('{value}')"),
        "nonBoolean" => "7".to_owned(),
        "isBound" => format!("defined(Var{value})"),
        "unboundVar" | "noValue" => format!("!defined(Var{value})"),
        "systemVarIsBound" => format!("defined({value})"),
        "true" => "true".to_owned(),
        "false" => "false".to_owned(),
        "eventFieldsAreBound" => {
            let fields = ["name", "type", "sendid", "origin", "origintype", "invokeid", "data"];
            fields.map(|field| format!("has(_event, '{field}')")).join(" && ")
        }
        "eventFieldHasNoValue" => format!("!defined(_event.{value})"),
        "originTypeEq" => format!("_event.origintype == '{value}'"),
        other => bail!("conf:{other} has no meaning here"),
    })
}

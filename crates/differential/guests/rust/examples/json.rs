//! A parser of JSON that others wrote: allocation, strings, maps.

use serde_json::{Value, json};

/// How long the document is after it was read and written this many times.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let entry = |at: i32| {
        json!({ "id": at, "name": format!("entry {at}"), "share": f64::from(at) / 7.0,
            "tags": ["one", "two", "three"], "inner": { "open": at % 2 == 0, "none": null } })
    };
    let mut text = Value::Array((0..40).map(entry).collect()).to_string();
    let mut length = 0;
    for round in 0..n {
        let Ok(mut read) = serde_json::from_str::<Value>(&text) else { return -1 };
        read[(round % 40) as usize]["id"] = json!(round);
        text = read.to_string();
        length += text.len() as i64;
    }
    length
}

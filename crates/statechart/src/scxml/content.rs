//! Decides how executable content and values are read.

use roxmltree::Node;

use super::document::{Reader, Result, elements, words};
use super::write::OURS;
use crate::definition::{Action, Branch, Given, Message, Param, Placed, Send, Text};
use crate::value::Value;

impl Reader<'_, '_> {
    pub(super) fn actions(&mut self, node: Node<'_, '_>) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        let inner: Vec<_> = node.children().filter(Node::is_element).collect();
        for element in inner {
            match element.tag_name().name() {
                "script" => actions.extend(self.script(element)?),
                _ => actions.push(self.placed(element)?),
            }
        }
        Ok(actions)
    }

    /// An action, with its place if that is asked for.
    fn placed(&mut self, node: Node<'_, '_>) -> Result<Action> {
        let action = self.action(node)?;
        Ok(self.at(node, action))
    }

    fn at(&self, node: Node<'_, '_>, action: Action) -> Action {
        match self.origin(node) {
            Some(origin) => Action::At(Box::new(Placed { origin, action })),
            None => action,
        }
    }

    fn action(&mut self, node: Node<'_, '_>) -> Result<Action> {
        let attribute = |name: &str| node.attribute(name).map(str::to_owned);
        Ok(match node.tag_name().name() {
            "raise" => match attribute("event") {
                Some(event) => Action::Raise(event),
                None => return Err(self.wrong(node, "raise has no event")),
            },
            "assign" => {
                let Some(to) = attribute("location") else {
                    return Err(self.wrong(node, "assign has no location"));
                };
                let value = self.given(node)?;
                Action::Assign { to, value: value.unwrap_or(Given::Literal(Value::Null)) }
            }
            "if" => self.branches(node)?,
            "foreach" => Action::ForEach {
                list: self.expression(node.attribute("array").unwrap_or_default()),
                item: attribute("item").unwrap_or_default(),
                index: attribute("index"),
                actions: self.actions(node)?,
            },
            "log" => Action::Log {
                label: attribute("label"),
                value: node.attribute("expr").map(|value| self.expression(value)),
            },
            "send" => Action::Send(Box::new(self.send(node)?)),
            "cancel" => match self.text(node, "sendid", "sendidexpr") {
                Some(id) => Action::Cancel { id },
                None => return Err(self.wrong(node, "cancel has no sendid")),
            },
            "spawn" if node.has_tag_name((OURS, "spawn")) => match self.said(node, "child")? {
                Some(spawn) => Action::Spawn(spawn),
                None => return Err(self.wrong(node, "spawn has no child")),
            },
            "stop" if node.has_tag_name((OURS, "stop")) => match self.said(node, "child")? {
                Some(id) => Action::Stop { id },
                None => return Err(self.wrong(node, "stop has no child")),
            },
            "fail" if node.has_tag_name((OURS, "fail")) => Action::Fail(text_of(node)),
            other => Action::Fail(format!("{other} has no meaning here")),
        })
    }

    /// `else` and `elseif` stand between what they part.
    fn branches(&mut self, node: Node<'_, '_>) -> Result<Action> {
        let when = |node: Node<'_, '_>| node.attribute("cond").unwrap_or_default().to_owned();
        let always = node.attribute((OURS, "always")) == Some("true");
        let first = (!always).then(|| self.expression(&when(node)));
        let first = Branch { when: first, actions: Vec::new() };
        let mut branches = vec![first];
        let inner: Vec<_> = node.children().filter(Node::is_element).collect();
        for element in inner {
            match element.tag_name().name() {
                "elseif" => {
                    let when = Some(self.expression(&when(element)));
                    branches.push(Branch { when, actions: Vec::new() });
                }
                "else" => branches.push(Branch { when: None, actions: Vec::new() }),
                name => {
                    let mut actions = match name {
                        "script" => self.script(element)?,
                        _ => vec![self.placed(element)?],
                    };
                    if let Some(last) = branches.last_mut() {
                        last.actions.append(&mut actions);
                    }
                }
            }
        }
        Ok(Action::If(branches))
    }

    pub(super) fn script(&mut self, node: Node<'_, '_>) -> Result<Vec<Action>> {
        let text = match node.attribute("src") {
            Some(source) => self.load(source)?,
            None => text_of(node),
        };
        let actions = self.around.language.script(&text);
        for action in &actions {
            if let Action::Assign { to, .. } = action
                && to.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
            {
                self.scripted.insert(to.clone());
            }
        }
        Ok(actions.into_iter().map(|action| self.at(node, action)).collect())
    }

    fn send(&mut self, node: Node<'_, '_>) -> Result<Send> {
        Ok(Send {
            slot: node.attribute((OURS, "slot")).unwrap_or_default().to_owned(),
            id: node.attribute("id").map(str::to_owned),
            id_into: node.attribute("idlocation").map(str::to_owned),
            event: self.text(node, "event", "eventexpr"),
            to: self.text(node, "target", "targetexpr"),
            by: self.text(node, "type", "typeexpr"),
            delay: self.text(node, "delay", "delayexpr"),
            data: self.message(node)?,
        })
    }

    pub(super) fn text(&self, node: Node<'_, '_>, fixed: &str, reckoned: &str) -> Option<Text> {
        if let Some(expression) = node.attribute(reckoned) {
            return Some(Text::Expression { expression: self.expression(expression) });
        }
        node.attribute(fixed).map(|text| Text::Fixed(text.to_owned()))
    }

    /// Names, parameters and content of a `send`, an `invoke` or a `donedata`.
    pub(super) fn message(&mut self, node: Node<'_, '_>) -> Result<Message> {
        let mut message = Message { names: words(node, "namelist"), ..Message::default() };
        for element in elements(node) {
            match element.tag_name().name() {
                "param" => {
                    let name = element.attribute("name").unwrap_or_default().to_owned();
                    let value = element.attribute("expr").or_else(|| element.attribute("location"));
                    let value = match self.said(element, "literal")? {
                        Some(literal) => Given::Literal(literal),
                        None => Given::Expression(self.expression(value.unwrap_or_default())),
                    };
                    message.params.push(Param { name, value });
                }
                "content" if node.tag_name().name() != "invoke" => {
                    let content = self.given(element)?;
                    message.content = Some(content.unwrap_or(Given::Literal(Value::Null)));
                }
                _ => {}
            }
        }
        Ok(message)
    }

    /// What an empty `finalize` does: what came back goes where it was taken from.
    pub(super) fn returned(&self, node: Node<'_, '_>) -> Vec<Action> {
        let names = words(node, "namelist").into_iter().map(|name| (name.clone(), name));
        let params = elements(node).filter_map(|param| {
            let location = param.attribute("location")?;
            Some((location.to_owned(), param.attribute("name")?.to_owned()))
        });
        let assign = |(to, name): (String, String)| {
            let came = format!("_event.data.{name}");
            let value = Given::Expression(came.clone());
            let actions = vec![Action::Assign { to, value }];
            Action::If(vec![Branch { when: Some(format!("defined({came})")), actions }])
        };
        names.chain(params).map(assign).collect()
    }

    /// The value of an element: its `expr`, or what it holds; none if there is neither.
    pub(super) fn given(&mut self, node: Node<'_, '_>) -> Result<Option<Given>> {
        if let Some(expression) = node.attribute("expr") {
            return Ok(Some(Given::Expression(self.expression(expression))));
        }
        if let Some(chart) = elements(node).find(|inner| inner.tag_name().name() == "scxml") {
            return self.adopt(chart).map(|name| Some(Given::Literal(Value::text(name))));
        }
        if node.children().any(|child| child.is_element()) {
            let markup: Vec<&str> = node
                .children()
                .filter(Node::is_element)
                .map(|child| &node.document().input_text()[child.range()])
                .collect();
            return Ok(Some(Given::Literal(Value::text(markup.concat()))));
        }
        let text = text_of(node);
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(read(&text))) }
    }
}

fn text_of(node: Node<'_, '_>) -> String {
    node.children().filter_map(|child| child.text()).collect()
}

/// Text that is JSON is that value; other text is text, with one space between its words.
pub(super) fn read(text: &str) -> Given {
    match serde_json::from_str(text) {
        Ok(value) => Given::Literal(value),
        Err(_) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            Given::Literal(Value::text(words.join(" ")))
        }
    }
}

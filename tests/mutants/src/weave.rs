//! All changes woven into a source file at once, each behind a switch.

use std::collections::HashMap;
use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::Change;

/// What is inserted at a place. Of those at one place the first to stand are
/// the ends of what is inside, then the beginnings of what is outside.
struct Insertion {
    at: usize,
    /// None for an end.
    begins: Option<usize>,
    /// How long what it belongs to is.
    length: usize,
    text: String,
    /// The change whose code the text is.
    change: Option<usize>,
}

/// A woven file, and where in it the code of each change is.
pub struct Woven {
    pub text: String,
    pub regions: Vec<(Range<usize>, usize)>,
    /// The changes that are not in it: their functions stay `const`.
    pub left: Vec<usize>,
}

#[derive(Default)]
struct Places {
    /// Binary and unary operations by where their operator is.
    operations: HashMap<usize, Range<usize>>,
    /// Struct expressions by where each of their fields is.
    fields: HashMap<usize, Range<usize>>,
    /// Match arms by where they begin: where the pattern ends, and the guard.
    arms: HashMap<usize, (usize, Option<Range<usize>>)>,
    /// Constant functions: the keyword, the name, the whole.
    functions: Vec<(Range<usize>, String, Range<usize>)>,
    /// What the compiler computes in any case.
    constants: Vec<Range<usize>>,
}

impl<'a> Visit<'a> for Places {
    fn visit_expr_binary(&mut self, node: &'a syn::ExprBinary) {
        self.operations
            .insert(node.op.span().byte_range().start, node.span().byte_range());
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'a syn::ExprUnary) {
        self.operations
            .insert(node.op.span().byte_range().start, node.span().byte_range());
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'a syn::ExprStruct) {
        for field in &node.fields {
            self.fields
                .insert(field.span().byte_range().start, node.span().byte_range());
        }
        visit::visit_expr_struct(self, node);
    }

    fn visit_arm(&mut self, node: &'a syn::Arm) {
        let guard = node
            .guard
            .as_ref()
            .map(|(_, guard)| guard.span().byte_range());
        let pattern = node.pat.span().byte_range();
        let arm = (pattern.end, guard);
        self.arms.insert(node.span().byte_range().start, arm);
        visit::visit_arm(self, node);
    }

    fn visit_item_fn(&mut self, node: &'a syn::ItemFn) {
        self.function(&node.sig, node.span().byte_range());
        visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'a syn::ImplItemFn) {
        self.function(&node.sig, node.span().byte_range());
        visit::visit_impl_item_fn(self, node);
    }

    fn visit_item_const(&mut self, node: &'a syn::ItemConst) {
        self.constants.push(node.span().byte_range());
    }

    fn visit_impl_item_const(&mut self, node: &'a syn::ImplItemConst) {
        self.constants.push(node.span().byte_range());
    }

    fn visit_item_static(&mut self, node: &'a syn::ItemStatic) {
        self.constants.push(node.span().byte_range());
    }

    fn visit_expr_repeat(&mut self, node: &'a syn::ExprRepeat) {
        self.constants.push(node.len.span().byte_range());
        visit::visit_expr_repeat(self, node);
    }

    fn visit_type_array(&mut self, node: &'a syn::TypeArray) {
        self.constants.push(node.len.span().byte_range());
    }
}

impl Places {
    fn function(&mut self, sig: &syn::Signature, whole: Range<usize>) {
        if let Some(keyword) = &sig.constness {
            let keyword = keyword.span().byte_range();
            self.functions.push((keyword, sig.ident.to_string(), whole));
        }
    }
}

/// Weaves the changes, by their numbers, into the source. Functions of which
/// `stays_const` says so keep being constant, and so as they are.
pub fn weave(
    source: &str,
    changes: &[(usize, &Change)],
    stays_const: impl Fn(&str) -> bool,
) -> Woven {
    let file = syn::parse_file(source).expect("the source parses");
    let mut places = Places::default();
    places.visit_file(&file);
    let lines: Vec<usize> = std::iter::once(0)
        .chain(source.match_indices('\n').map(|(at, _)| at + 1))
        .collect();
    let place = |(line, column): (usize, usize)| {
        let start = lines[line - 1];
        let chars = source[start..].char_indices();
        start + chars.map(|(at, _)| at).nth(column - 1).unwrap_or(0)
    };

    let mut text = source.to_owned();
    let mut kept = places.constants.clone();
    for (keyword, name, whole) in &places.functions {
        if stays_const(name) {
            kept.push(whole.clone());
        } else {
            text.replace_range(keyword.clone(), "     ");
        }
    }
    let mut left = Vec::new();
    let mut insertions = Vec::new();
    // Of one place: the variants, by number.
    let mut wraps: HashMap<(usize, usize), Vec<(usize, String)>> = HashMap::new();
    for &(number, change) in changes {
        let span = place(change.start)..place(change.end);
        if kept.iter().any(|kept| kept.contains(&span.start)) {
            left.push(number);
            continue;
        }
        let mut wrap = |range: &Range<usize>| {
            let variant = [
                &source[range.start..span.start],
                &change.replacement,
                &source[span.end..range.end],
            ];
            let variants = wraps.entry((range.start, range.end)).or_default();
            variants.push((number, variant.concat()));
        };
        let known = match change.genre.as_str() {
            "FnValue" => {
                insertions.push(Insertion {
                    at: span.start,
                    begins: Some(number),
                    length: usize::MAX,
                    text: format!(
                        "if crate::woven({number}) {{ return {}; }} ",
                        change.replacement
                    ),
                    change: Some(number),
                });
                true
            }
            "BinaryOperator" | "UnaryOperator" => {
                let range = places.operations.get(&span.start);
                range.map(&mut wrap).is_some()
            }
            "StructField" => places.fields.get(&span.start).map(&mut wrap).is_some(),
            "MatchArmGuard" => {
                wrap(&span);
                true
            }
            "MatchArm" => {
                if let Some((end, guard)) = places.arms.get(&span.start) {
                    let switch = format!("!crate::woven({number})");
                    let mut insert = |at, begins, text: String| {
                        insertions.push(Insertion {
                            at,
                            begins,
                            length: usize::MAX - 1,
                            text,
                            change: Some(number),
                        });
                    };
                    match guard {
                        None => insert(*end, Some(number), format!(" if {switch}")),
                        Some(guard) => {
                            insert(guard.start, Some(number), format!("{switch} && ("));
                            insert(guard.end, None, ")".to_owned());
                        }
                    }
                    true
                } else {
                    false
                }
            }
            _ => false,
        };
        if !known {
            left.push(number);
        }
    }
    for ((start, end), variants) in wraps {
        for (place, (number, variant)) in variants.into_iter().enumerate() {
            let open = if place == 0 { "(" } else { "" };
            insertions.push(Insertion {
                at: start,
                begins: Some(place),
                length: end - start,
                text: format!("{open}if crate::woven({number}) {{ {variant} }} else "),
                change: Some(number),
            });
        }
        for (begins, at, text) in [(Some(usize::MAX), start, "{ "), (None, end, " })")] {
            insertions.push(Insertion {
                at,
                begins,
                length: end - start,
                text: text.to_owned(),
                change: None,
            });
        }
    }
    insertions.sort_by_key(|insertion| match insertion.begins {
        None => (insertion.at, 0, insertion.length, 0),
        Some(order) => (insertion.at, 1, usize::MAX - insertion.length, order),
    });

    let mut woven = Woven {
        text: String::with_capacity(2 * text.len()),
        regions: Vec::new(),
        left,
    };
    let mut from = 0;
    for insertion in insertions {
        woven.text.push_str(&text[from..insertion.at]);
        from = insertion.at;
        let start = woven.text.len();
        woven.text.push_str(&insertion.text);
        if let Some(change) = insertion.change {
            woven.regions.push((start..woven.text.len(), change));
        }
    }
    woven.text.push_str(&text[from..]);
    woven
}

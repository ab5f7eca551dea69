//! The chat template of a merge's child: that of the model it is like, of most models, or one that is said.

use studbook::base::digest::Digest;

use crate::merge::space;

#[test]
fn a_chat_template_is_chosen_or_said() {
    let space = space();
    let chatty = |name: &str, template: &str| {
        let settings = serde_json::json!({ "chat_template": template, "eos_token": "</s>" });
        space.write(&format!("{name}/tokenizer_config.json"), settings.to_string().as_bytes());
    };
    let models = "merge_method: linear\nmodels: [{model: base}, {model: one}, {model: two}]\n\
                  parameters: {weight: 1}\n";
    let settings =
        || -> serde_json::Value { serde_json::from_str(&space.read("out/tokenizer_config.json")).unwrap() };
    let merged = |more: &str| {
        space.write("m.yml", format!("{models}{more}").as_bytes());
        let said = space.studbook(&["merge", "m.yml", "out", "--force"]).exits(0);
        let receipt: serde_json::Value =
            serde_json::from_str(&space.read("out/studbook-receipt.json")).unwrap();
        (said, receipt["chat_template"].clone())
    };
    ["base", "one", "two"].into_iter().for_each(|name| chatty(name, &format!("{{{{ of_{name} }}}}")));
    assert_eq!(merged("").1, serde_json::Value::Null);
    assert_eq!(settings()["chat_template"], "{{ of_base }}");
    // As many have each: the base's stays.
    assert_eq!(merged("chat_template: auto\n").1, serde_json::Value::Null);
    chatty("two", "{{ of_one }}\n");
    let (said, receipt) = merged("chat_template: auto\n");
    said.complains("chat template: that of `one` and 1 more");
    assert_eq!(receipt["models"], serde_json::json!(["one", "two"]));
    assert_eq!(receipt["blake3"], Digest::of(b"{{ of_one }}").to_hex().as_str());
    assert_eq!(
        (&settings()["chat_template"], &settings()["eos_token"]),
        (&"{{ of_one }}".into(), &"</s>".into())
    );
    let (_, receipt) = merged("chat_template: |\n  {% for m in messages %}\n  {{ m.content }}{% endfor %}\n");
    assert_eq!(settings()["chat_template"], "{% for m in messages %}\n{{ m.content }}{% endfor %}\n");
    assert_eq!(receipt.as_object().unwrap().len(), 1, "the configuration has the text");
    space.write("m.yml", format!("{models}chat_template: chatml\n").as_bytes());
    space
        .studbook(&["merge", "m.yml", "out", "--force"])
        .exits(2)
        .complains("m.yml:4:16")
        .complains("`chatml` is no chat template");
}

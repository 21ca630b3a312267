//! What the server says of itself before anything is called.

use greentune_mcp_server::Preset;
use rmcp::{
    ServiceError,
    model::{GetSkillRequestParams, ProtocolVersion, ReadResourceRequestParams},
};
use serde_json::json;

use crate::session::{Listener, Session};

#[tokio::test]
async fn a_client_that_initializes_learns_who_it_talks_to() {
    let session = Session::new().await;
    let peer = session.client.peer_info().unwrap().clone();
    let server = peer.server_info.clone().unwrap();
    assert_eq!((server.name.as_str(), server.version.as_str()), ("greentune", env!("CARGO_PKG_VERSION")));
    assert_eq!(peer.protocol_version, ProtocolVersion::V_2025_11_25);
    assert!(peer.capabilities.tools.is_some());
    let instructions = peer.instructions.clone().unwrap();
    assert!(instructions.contains("generate_fine_tuning_project"), "{instructions}");
}

#[tokio::test]
async fn a_client_of_the_stateless_version_discovers_and_lists() {
    let session = Session::stateless().await;
    assert_eq!(session.client.peer_info().unwrap().protocol_version, ProtocolVersion::V_2026_07_28);
    let listed = session.client.list_tools(None).await.unwrap();
    assert_eq!(listed.tools.len(), 23);
    assert!(listed.result_type.is_some() && listed.ttl_ms.is_some() && listed.cache_scope.is_some());
}

#[tokio::test]
async fn the_list_of_tools_is_the_published_one() {
    let session = Session::new().await;
    insta::assert_json_snapshot!("tools", session.client.list_all_tools().await.unwrap());
}

/// A token of these texts is 4.0 bytes in the tokenizer of Claude 2 and 4.2 in that of GPT-4o (docs/mcp.md).
const BYTES_PER_TOKEN: f64 = 3.9;

/// Models read the list in every conversation.
#[tokio::test]
async fn the_lists_of_tools_leave_room_for_the_conversation() {
    for (preset, most_tokens, count) in
        [(Preset::Core, 4000.0, 12), (Preset::Hub, 10_000.0, 16), (Preset::All, 10_000.0, 23)]
    {
        let session = Session::of(Listener::default(), true, |_| {}, preset).await;
        let tools = session.client.list_all_tools().await.unwrap();
        assert_eq!(tools.len(), count, "{preset:?}");
        for tool in &tools {
            let description = tool.description.clone().unwrap();
            assert!(description.len() <= 160, "{}: {description}", tool.name);
        }
        let tokens = serde_json::to_string(&tools).unwrap().len() as f64 / BYTES_PER_TOKEN;
        assert!(tokens < most_tokens, "{preset:?}: about {tokens} tokens");
    }
}

#[tokio::test]
async fn a_smaller_set_has_no_other_tools_and_says_where_they_are() {
    let session = Session::of(Listener::default(), false, |_| {}, Preset::Core).await;
    let Err(ServiceError::McpError(error)) = session.call("compare_runs", json!({})).await else { panic!() };
    assert_eq!(error.code.0, -32602);
    assert!(error.message.contains("--tools all"), "{}", error.message);
    let Err(ServiceError::McpError(error)) = session.call("nothing", json!({})).await else { panic!() };
    assert!(
        error.message.contains("export_model") && !error.message.contains("compare_runs"),
        "{}",
        error.message
    );
    // What is not listed is an argument all the same.
    let (problem, _) =
        session.refuse("start_training", json!({ "dataset": "/nothing", "model": "simplecnn" })).await;
    assert_ne!(problem["code"], "arguments.invalid", "{problem}");
}

#[tokio::test]
async fn the_skill_is_listed_got_and_read() {
    for session in [Session::new().await, Session::stateless().await] {
        let peer = session.client.peer_info().unwrap().clone();
        assert!(peer.capabilities.supports_skills() && peer.capabilities.resources.is_some());
        let listed = session.client.list_all_skills().await.unwrap();
        let [skill] = listed.as_slice() else { panic!("one skill: {listed:?}") };
        assert_eq!(skill.name(), "greentune");
        let got = session.client.get_skill(GetSkillRequestParams::new(skill.uri.clone())).await.unwrap();
        assert_eq!(got.skill, *skill);
        let read = ReadResourceRequestParams::new(skill.uri.clone());
        let read = session.client.read_resource(read).await.unwrap();
        let text = serde_json::to_value(&read.contents[0]).unwrap();
        assert_eq!(text["text"], greentune_mcp_server::SKILL);
        assert_eq!(text["mimeType"], "text/markdown");
    }
}

#[tokio::test]
async fn another_address_is_neither_a_skill_nor_a_resource() {
    let session = Session::new().await;
    let uri = "skill://other/SKILL.md";
    let skill = session.client.get_skill(GetSkillRequestParams::new(uri)).await.unwrap_err();
    assert!(skill.to_string().contains("no skill at"), "{skill}");
    let resource = session.client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap_err();
    assert!(resource.to_string().contains("no resource"), "{resource}");
}

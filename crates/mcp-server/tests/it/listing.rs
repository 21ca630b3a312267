//! What the server says of itself before anything is called.

use rmcp::model::{GetSkillRequestParams, ProtocolVersion, ReadResourceRequestParams};

use crate::session::Session;

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
    assert_eq!(listed.tools.len(), 20);
    assert!(listed.result_type.is_some() && listed.ttl_ms.is_some() && listed.cache_scope.is_some());
}

#[tokio::test]
async fn the_list_of_tools_is_the_published_one() {
    let session = Session::new().await;
    insta::assert_json_snapshot!("tools", session.client.list_all_tools().await.unwrap());
}

/// Models read everything but output schemas in every conversation, and some clients put those before them too.
#[tokio::test]
async fn the_list_of_tools_leaves_room_for_the_conversation() {
    let session = Session::new().await;
    let (mut listed, mut output_schemas) = (0, 0);
    let tools = session.client.list_all_tools().await.unwrap();
    let count = tools.len();
    for tool in tools {
        let description = tool.description.clone().unwrap();
        assert!(description.len() <= 160, "{}: {description}", tool.name);
        output_schemas += serde_json::to_string(tool.output_schema.as_deref().unwrap()).unwrap().len();
        let mut tool = serde_json::to_value(tool).unwrap();
        tool.as_object_mut().unwrap().remove("outputSchema");
        listed += tool.to_string().len();
    }
    // 17 tools took 15.9 kB and 22.2 kB when this was measured first.
    assert!(listed < 975 * count, "{listed} bytes of {count} tools");
    assert!(output_schemas < 1_450 * count, "{output_schemas} bytes of output schemas of {count} tools");
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

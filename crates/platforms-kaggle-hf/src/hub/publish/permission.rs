//! Whether a token may write to a repository: asked before anything is made for it.
//!
//! The Hub says who a token belongs to, with what role in which organisations, and what a fine-grained one covers
//! (`/api/whoami-v2`, as its OpenAPI description has it in November 2026). What it does not say forbids nothing: the upload
//! itself will tell.

use serde::Deserialize;

use super::{Visibility, check_publication, repository::Repository};
use crate::hub::{
    error::{HubError, Result},
    settings::HubSettings,
    watch::TransferControl,
};

/// Whether something can be published in `repository`, as far as the Hub says beforehand.
///
/// Errors: as [`check_publication`]; the Hub does not know the token, or says that it may not write there; everybody sees
/// the repository though `visibility` is private; the Hub cannot be reached.
pub fn check_permission(
    settings: &HubSettings,
    repository: &str,
    visibility: Visibility,
    watch: &TransferControl,
) -> Result<()> {
    check_publication(settings, repository)?;
    ask(settings, repository, visibility, watch).map_err(HubError::while_uploading)
}

fn ask(
    settings: &HubSettings,
    repository: &str,
    visibility: Visibility,
    watch: &TransferControl,
) -> Result<()> {
    let asked = Repository::new(settings, repository, watch)?;
    if let Some(reason) = asked.holder()?.and_then(|holder| holder.refusal(repository)) {
        let source_name = settings.token.as_ref().map(|token| token.source().to_owned()).unwrap_or_default();
        let (id, endpoint) = (repository.to_owned(), settings.endpoint.clone());
        return Err(HubError::WriteForbidden { id, endpoint, source_name, reason });
    }
    asked.check_visibility(visibility)
}

/// Who a token belongs to.
#[derive(Debug, Deserialize)]
pub(super) struct Holder {
    name: Option<String>,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    orgs: Vec<Organisation>,
    #[serde(default)]
    auth: Auth,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Organisation {
    name: String,
    role_in_org: Option<String>,
    #[serde(default)]
    resource_groups: Option<Vec<ResourceGroup>>,
}

#[derive(Debug, Deserialize)]
struct ResourceGroup {
    role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Auth {
    access_token: Option<AccessToken>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessToken {
    role: Option<String>,
    fine_grained: Option<FineGrained>,
}

#[derive(Debug, Deserialize)]
struct FineGrained {
    #[serde(default)]
    scoped: Vec<Scope>,
}

#[derive(Debug, Deserialize)]
struct Scope {
    entity: Entity,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Entity {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
}

impl Holder {
    /// Why its token may not write to the repository `id`, where that is known.
    fn refusal(&self, id: &str) -> Option<String> {
        let token = self.auth.access_token.as_ref();
        if token.and_then(|token| token.role.as_deref()) == Some("read") {
            return Some(String::from("it is a token for reading"));
        }
        let owner = id.split('/').next().unwrap_or_default();
        let of_owner = self.refusal_of_owner(owner);
        let scopes = token.and_then(|token| token.fine_grained.as_ref());
        let covers = |scope: &Scope| {
            scope.permissions.iter().any(|name| name == "repo.write") && scope.entity.covers(owner, id)
        };
        of_owner.or_else(|| {
            let is_covered = scopes?.scoped.iter().any(covers);
            (!is_covered)
                .then(|| String::from("it is a fine-grained token without the permission to write there"))
        })
    }

    fn refusal_of_owner(&self, owner: &str) -> Option<String> {
        let name = self.name.as_deref().filter(|_| self.kind == "user" || self.kind == "org")?;
        if is_same(name, owner) {
            return None;
        }
        let Some(organisation) = self.orgs.iter().find(|one| is_same(&one.name, owner)) else {
            return Some(format!(
                "the token belongs to {name}, and {owner} is somebody else or an organisation without {name}"
            ));
        };
        let reads = |role: Option<&str>| role == Some("read");
        let mut groups = organisation.resource_groups.iter().flatten();
        let only_reads =
            reads(organisation.role_in_org.as_deref()) && groups.all(|group| reads(group.role.as_deref()));
        only_reads.then(|| format!("{name} may only read in the organisation {owner}"))
    }
}

impl Entity {
    /// Whether a permission for it may be one for the repository `id` of `owner`.
    fn covers(&self, owner: &str, id: &str) -> bool {
        let is_or_unknown = |wanted| self.name.as_deref().is_none_or(|name| is_same(name, wanted));
        match self.kind.as_str() {
            "user" | "org" => is_or_unknown(owner),
            "model" => is_or_unknown(id),
            "resource-group" => true,
            _ => false,
        }
    }
}

/// The Hub tells names apart by their letters alone, not by their case.
fn is_same(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal(holder: Value, id: &str) -> Option<String> {
        serde_json::from_value::<Holder>(holder).unwrap().refusal(id)
    }

    fn ada(auth: &Value) -> Value {
        let org = |name, role, groups: Value| json!({ "type": "org", "name": name, "roleInOrg": role, "resourceGroups": groups });
        json!({
            "type": "user", "name": "ada", "auth": auth,
            "orgs": [
                org("makers", "write", Value::Null),
                org("contributors", "contributor", json!([])),
                org("readers", "read", json!([{ "id": "1", "name": "all", "role": "read" }])),
                org("groups", "read", json!([{ "id": "2", "name": "some", "role": "write" }])),
            ],
        })
    }

    #[test]
    fn somebody_writes_to_their_own_and_where_an_organisation_lets_them() {
        let holder =
            ada(&json!({ "type": "access_token", "accessToken": { "displayName": "t", "role": "write" } }));
        for id in ["ada/m", "Ada/m", "makers/m", "contributors/m", "groups/m"] {
            assert_eq!(refusal(holder.clone(), id), None, "{id}");
        }
        let of_others = refusal(holder.clone(), "bob/m").unwrap();
        assert!(of_others.contains("belongs to ada, and bob is somebody else"), "{of_others}");
        assert!(refusal(holder, "readers/m").unwrap().contains("ada may only read"));
        let reader =
            ada(&json!({ "type": "access_token", "accessToken": { "displayName": "t", "role": "read" } }));
        assert_eq!(refusal(reader, "ada/m").unwrap(), "it is a token for reading");
    }

    #[test]
    fn a_fine_grained_token_writes_where_a_permission_covers() {
        let scoped = |entity: Value, permission: &str| {
            let scope = json!({ "entity": entity, "permissions": ["repo.content.read", permission] });
            let token =
                json!({ "displayName": "t", "role": "fineGrained", "fineGrained": { "scoped": [scope] } });
            ada(&json!({ "type": "access_token", "accessToken": token }))
        };
        let user = || json!({ "_id": "1", "type": "user", "name": "ada" });
        assert_eq!(refusal(scoped(user(), "repo.write"), "ada/m"), None);
        assert!(refusal(scoped(user(), "repo.write"), "makers/m").unwrap().contains("fine-grained"));
        assert!(refusal(scoped(user(), "discussion.write"), "ada/m").unwrap().contains("fine-grained"));
        let model = || json!({ "_id": "1", "type": "model", "name": "ada/m" });
        assert_eq!(refusal(scoped(model(), "repo.write"), "ada/m"), None);
        assert!(refusal(scoped(model(), "repo.write"), "ada/other").is_some());
        let dataset = json!({ "_id": "1", "type": "dataset", "name": "ada/m" });
        assert!(refusal(scoped(dataset, "repo.write"), "ada/m").is_some());
        let unnamed = json!({ "_id": "1", "type": "org" });
        assert_eq!(refusal(scoped(unnamed, "repo.write"), "makers/m"), None);
    }

    #[test]
    fn what_is_not_said_forbids_nothing() {
        for holder in
            [json!({}), json!({ "type": "app", "name": "tool" }), json!({ "auth": { "type": "oauth" } })]
        {
            assert_eq!(refusal(holder, "ada/m"), None);
        }
        let unknown_role = json!({ "type": "user", "name": "ada", "orgs": [{ "name": "makers" }] });
        assert_eq!(refusal(unknown_role, "makers/m"), None);
    }
}

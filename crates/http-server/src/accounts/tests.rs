use super::*;

fn accounts() -> (tempfile::TempDir, Accounts) {
    let folder = tempfile::tempdir().unwrap();
    let accounts = Accounts::new(&folder.path().join("home"));
    (folder, accounts)
}

fn code(result: Result<impl Sized, AccountError>) -> String {
    result.map(drop).unwrap_err().problem().code
}

#[test]
fn a_token_is_told_once_and_kept_as_its_digest() {
    let (_folder, accounts) = accounts();
    assert_eq!(accounts.list().unwrap(), []);
    let ada = accounts.add("ada", &[]).unwrap();
    let bob = accounts.add("bob-2", &[]).unwrap();
    assert!(ada.token.starts_with("gt_") && ada.token.len() == 3 + 64 && ada.token != bob.token);
    assert!(ada.account.has_token(&digest(&ada.token)) && !ada.account.has_token(&digest(&bob.token)));
    let text = fs::read_to_string(accounts.file()).unwrap();
    assert!(!text.contains(&ada.token[3..]) && text.contains(&digest(&ada.token)), "{text}");
    assert_eq!(accounts.list().unwrap(), [ada.account, bob.account]);
    assert!(ada.folder.join("projects").is_dir() && !ada.found_folder);
}

#[test]
fn an_account_that_is_removed_leaves_its_folder() {
    let (_folder, accounts) = accounts();
    accounts.add("ada", &[]).unwrap();
    assert_eq!(code(accounts.add("ada", &[])), "account.exists");
    assert!(accounts.remove("ada").unwrap().is_dir());
    assert_eq!(accounts.list().unwrap(), []);
    let unknown = accounts.remove("ada").unwrap_err();
    assert_eq!(unknown.to_string(), "no account \"ada\"; there are none");
    assert!(accounts.add("ada", &[]).unwrap().found_folder);
}

#[test]
fn names_are_plain() {
    let (_folder, accounts) = accounts();
    for name in ["", "Ada", "a/b", "..", ".lock", "accounts.json", "-x", "é", &"a".repeat(33)] {
        assert_eq!(code(accounts.add(name, &[])), "account.name", "{name}");
    }
    for name in ["a", "0", "ada_l-1", &"a".repeat(32)] {
        accounts.add(name, &[]).unwrap();
    }
}

#[test]
fn folders_of_an_account_are_there_and_hold_no_other_account() {
    let (folder, accounts) = accounts();
    let data = folder.path().join("data");
    assert_eq!(code(accounts.add("ada", std::slice::from_ref(&data))), "file.missing");
    fs::create_dir(&data).unwrap();
    let ada = accounts.add("ada", std::slice::from_ref(&data)).unwrap();
    assert_eq!(ada.account.allowed_dirs, [fs::canonicalize(&data).unwrap()]);
    for wide in [folder.path().to_owned(), folder.path().join("home"), ada.folder] {
        assert_eq!(code(accounts.add("bob", &[wide])), "account.folder");
    }
}

#[test]
fn accounts_that_are_added_at_once_are_all_there() {
    let (_folder, accounts) = accounts();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let accounts = &accounts;
            scope.spawn(move || accounts.add(&format!("a{number}"), &[]).unwrap());
        }
    });
    assert_eq!(accounts.list().unwrap().len(), 8);
}

#[test]
fn a_file_that_is_none_of_ours_is_refused() {
    let (_folder, accounts) = accounts();
    accounts.add("ada", &[]).unwrap();
    write_private(&accounts.file(), b"{\"format\": 2, \"accounts\": []}").unwrap();
    assert_eq!(code(accounts.list()), "account.format");
    write_private(&accounts.file(), b"[]").unwrap();
    assert_eq!(code(accounts.list()), "account.damaged");
    fs::remove_file(accounts.file()).unwrap();
    fs::create_dir(accounts.file()).unwrap();
    assert_eq!(code(accounts.list()), "file.io");
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_use_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_folder, accounts) = accounts();
    accounts.add("ada", &[]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&accounts.file()), mode(&accounts.home("ada"))), (0o600, 0o700));
    for open in [0o640, 0o602] {
        fs::set_permissions(accounts.file(), fs::Permissions::from_mode(open)).unwrap();
        assert_eq!(code(accounts.list()), "account.permissions");
    }
}

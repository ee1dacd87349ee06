//! Decides what a permission token is: a chain of blocks, each signed with the key that the block before it
//! names, as in the designs of Macaroons (Birgisson et al., 2014) and Biscuit (version 2 of its
//! specification). The first is signed by a root key of the mesh.
//!
//! ```text
//!   root key ── signs ──▶ block 0 {holder, scope, next}      minted
//!                           next ── signs ──▶ block 1 {…}    narrowed, by whoever held the token
//!                                               next ── …    proof: the secret of the last `next`,
//!                                                            or, once sealed, a signature by it
//! ```
//!
//! Whoever holds a token holds the secret of its last block alone, so it can add a block and take none off.
//! It is a bearer token: what it allows it allows to whoever has its bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version: 1 |
//! | … | postcard: the blocks, each with its signature; the proof |
//!
//! # Invariants
//!
//! * T1 (signed): a token that was read and verified has blocks of one root, in their order, none taken off.
//! * T2 (narrowing): no block covers what the one before it does not.

use std::fmt;

use serde::{Deserialize, Serialize};
use whimbrel_wire::{
    Digest, DigestWriter, NodeKey, PublicKey, Purpose, Signature, decode, encode, hex,
};
use zeroize::{Zeroize, Zeroizing};

use crate::limits::{BLOCKS_MAX, HOLDER_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::refusal::{MintError, TrustRefusal};
use crate::scope::Scope;

/// The version that is written, and the only one that is read.
const VERSION: u8 = 1;

/// How its text begins.
const TEXT_HEAD: &str = "whimbrel-token:";

/// What names a block to whoever wants to revoke it, and with it all that was made from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockId(Digest);

/// Permission to do something, for whoever has it.
#[derive(Clone, PartialEq, Eq)]
pub struct PermissionToken {
    blocks: Vec<SignedBlock>,
    proof: Proof,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SignedBlock {
    block: Block,
    signature: Signature,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    /// For whom it was made, for people.
    holder: String,
    scope: Scope,
    /// Who signs the next.
    next: PublicKey,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Proof {
    /// The secret of the last block's key.
    Open([u8; 32]),
    /// A signature by it over the last block.
    Sealed(Signature),
}

impl Drop for Proof {
    fn drop(&mut self) {
        if let Self::Open(secret) = self {
            secret.zeroize();
        }
    }
}

impl PermissionToken {
    /// A token for `holder` that `root` signs. `seed` is random, secret and used for nothing else.
    ///
    /// # Errors
    ///
    /// [`MintError::Unbounded`].
    pub fn mint(
        root: &NodeKey,
        holder: &str,
        scope: Scope,
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, MintError> {
        let first = seal_block(root, &Digest::ZERO, holder, scope, seed)?;
        Ok(Self { blocks: vec![first], proof: Proof::Open(**seed) })
    }

    /// A token made from this one that covers less. Nobody need be asked.
    ///
    /// # Errors
    ///
    /// [`MintError`].
    pub fn attenuate(
        &self,
        holder: &str,
        scope: Scope,
        seed: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, MintError> {
        let Proof::Open(secret) = &self.proof else { return Err(MintError::Sealed) };
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(MintError::TooManyBlocks);
        }
        if !scope.is_within(self.scope()) {
            return Err(MintError::Wider);
        }
        let signer = NodeKey::from_seed(secret);
        let next = seal_block(&signer, &self.last_digest(), holder, scope, seed)?;
        let mut blocks = self.blocks.clone();
        blocks.push(next);
        Ok(Self { blocks, proof: Proof::Open(**seed) })
    }

    /// The same token, for somebody who is not to narrow it.
    #[must_use]
    pub fn sealed(&self) -> Self {
        let proof = match &self.proof {
            Proof::Open(secret) => Proof::Sealed(
                NodeKey::from_seed(secret).sign(seal_digest(&self.last_digest()).as_bytes()),
            ),
            Proof::Sealed(signature) => Proof::Sealed(*signature),
        };
        Self { blocks: self.blocks.clone(), proof }
    }

    /// Whether it cannot be narrowed.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        matches!(self.proof, Proof::Sealed(_))
    }

    /// What it covers: what its last block does.
    ///
    /// # Panics
    ///
    /// Never: there is no token without a block.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.last().block.scope
    }

    fn last(&self) -> &SignedBlock {
        self.blocks.last().expect("a token is made with a block, and read only with one")
    }

    /// For whom it was made, and for whom it was narrowed then: `ops>ci`.
    #[must_use]
    pub fn holder(&self) -> String {
        let holders: Vec<&str> = self.blocks.iter().map(|it| it.block.holder.as_str()).collect();
        holders.join(">")
    }

    /// What each block covers, the widest first.
    pub fn scopes(&self) -> impl Iterator<Item = (&str, &Scope)> {
        self.blocks.iter().map(|it| (it.block.holder.as_str(), &it.block.scope))
    }

    /// What names its blocks, the first one first. To revoke one revokes all that was made from it.
    #[must_use]
    pub fn ids(&self) -> Vec<BlockId> {
        let named = |it: &SignedBlock| {
            let mut writer = DigestWriter::new(Purpose::Token);
            writer.write(b"id").write(&encode(it));
            BlockId(writer.finish())
        };
        self.blocks.iter().map(named).collect()
    }

    /// Whether the chain holds, from one of `roots` to what its bearer shows.
    ///
    /// # Errors
    ///
    /// [`TrustRefusal::UnknownRoot`], [`TrustRefusal::Forged`], [`TrustRefusal::Widened`],
    /// [`TrustRefusal::NotWhole`].
    pub fn verify(&self, roots: &[PublicKey]) -> Result<(), TrustRefusal> {
        let first = self.blocks.first().ok_or(TrustRefusal::Malformed)?;
        if !roots.iter().any(|root| first.is_signed_by(root, &Digest::ZERO)) {
            return Err(TrustRefusal::UnknownRoot);
        }
        let mut before = digest(&Digest::ZERO, &first.block);
        for (block, pair) in self.blocks.windows(2).enumerate() {
            let [earlier, later] = pair else { continue };
            let block = block + 1;
            if !later.is_signed_by(&earlier.block.next, &before) {
                return Err(TrustRefusal::Forged { block });
            }
            if !later.block.scope.is_within(&earlier.block.scope) {
                return Err(TrustRefusal::Widened { block });
            }
            before = digest(&before, &later.block);
        }
        let key = &self.last().block.next;
        let whole = match &self.proof {
            Proof::Open(secret) => NodeKey::from_seed(secret).public() == *key,
            Proof::Sealed(signature) => {
                key.verify(seal_digest(&before).as_bytes(), signature).is_ok()
            }
        };
        if whole { Ok(()) } else { Err(TrustRefusal::NotWhole) }
    }

    /// The digest up to its last block.
    fn last_digest(&self) -> Digest {
        let mut before = Digest::ZERO;
        for it in &self.blocks {
            before = digest(&before, &it.block);
        }
        before
    }

    /// Its bytes. They are as secret as what it allows.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let body = Zeroizing::new(encode(&(&self.blocks, &self.proof)));
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + body.len()));
        bytes.push(VERSION);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// The token that `bytes` are. It is not verified yet.
    ///
    /// # Errors
    ///
    /// [`TrustRefusal::TooLong`], [`TrustRefusal::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrustRefusal> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TrustRefusal::TooLong);
        }
        let Some((&VERSION, body)) = bytes.split_first() else {
            return Err(TrustRefusal::Malformed);
        };
        let (blocks, proof): (Vec<SignedBlock>, Proof) =
            decode(body).map_err(|_| TrustRefusal::Malformed)?;
        let proper = |it: &SignedBlock| is_holder(&it.block.holder) && it.block.scope.is_bounded();
        if blocks.is_empty() || blocks.len() > BLOCKS_MAX || !blocks.iter().all(proper) {
            return Err(TrustRefusal::Malformed);
        }
        Ok(Self { blocks, proof })
    }

    /// Its text, for a file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = self.to_bytes();
        let mut text = Zeroizing::new(String::with_capacity(TEXT_HEAD.len() + 2 * bytes.len()));
        text.push_str(TEXT_HEAD);
        for byte in bytes.iter() {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// The token of a text, white space around it aside.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_text(text: &str) -> Result<Self, TrustRefusal> {
        let digits = text.trim().strip_prefix(TEXT_HEAD).ok_or(TrustRefusal::Malformed)?;
        if digits.len() > 2 * TOKEN_BYTES_MAX {
            return Err(TrustRefusal::TooLong);
        }
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        Self::from_bytes(&Zeroizing::new(bytes.ok_or(TrustRefusal::Malformed)?))
    }
}

impl SignedBlock {
    fn is_signed_by(&self, key: &PublicKey, before: &Digest) -> bool {
        key.verify(digest(before, &self.block).as_bytes(), &self.signature).is_ok()
    }
}

/// A block that follows `before`, signed.
fn seal_block(
    signer: &NodeKey,
    before: &Digest,
    holder: &str,
    scope: Scope,
    seed: &Zeroizing<[u8; 32]>,
) -> Result<SignedBlock, MintError> {
    if !is_holder(holder) || !scope.is_bounded() {
        return Err(MintError::Unbounded);
    }
    let next = NodeKey::from_seed(seed).public();
    let block = Block { holder: holder.to_owned(), scope, next };
    let signature = signer.sign(digest(before, &block).as_bytes());
    Ok(SignedBlock { block, signature })
}

fn is_holder(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= HOLDER_BYTES_MAX
        && !name.chars().any(|letter| letter.is_control() || letter == '>')
}

fn digest(before: &Digest, block: &Block) -> Digest {
    let mut writer = DigestWriter::new(Purpose::Token);
    writer.write(b"block").write(before.as_bytes()).write(&encode(block));
    writer.finish()
}

fn seal_digest(last: &Digest) -> Digest {
    let mut writer = DigestWriter::new(Purpose::Token);
    writer.write(b"sealed").write(last.as_bytes());
    writer.finish()
}

impl BlockId {
    /// The id with this digest.
    #[must_use]
    pub const fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The digest of the block.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.0
    }

    /// The id of 64 hexadecimal digits.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Digest::parse(text).map(Self)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PermissionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PermissionToken({}, {} blocks)", self.holder(), self.blocks.len())
    }
}

/// How a bundle is opened.
public struct BundleOptions: Hashable, Sendable {
  /// When stored bytes are checked against their hashes.
  public enum Verification: String, CaseIterable, Hashable, Sendable {
    /// All of them, while opening.
    case eager
    /// Each when it is first used.
    case firstUse = "first-use"
    /// Never; the file's structure is still checked.
    case off
  }

  /// When stored bytes are checked.
  public var verification = Verification.firstUse
  /// Whether raw tensors may be used from a memory map.
  public var usesMap = true
  /// Whether to open an older generation where the newest is damaged or cut off.
  public var recovers = false
  /// For fuzzing: take headers, superblocks, roots, manifests and cards without checking their hashes.
  package var checksMetadata = true

  /// The defaults.
  public init() {}
}

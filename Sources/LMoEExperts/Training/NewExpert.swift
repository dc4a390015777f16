public import LMoECore
import LMoEFormat

/// A LoRA expert that is made here from nothing: what it changes and how large it is, before it has values.
public struct NewExpert: Sendable {
  /// A linear layer that it changes.
  public struct Module: Hashable, Sendable {
    /// Its name (`model.layers.0.self_attn.q_proj`).
    public let name: String
    /// The width of what goes in.
    public let inputFeatures: Int
    /// The width of what comes out.
    public let outputFeatures: Int
  }

  /// Its name.
  public let name: String
  /// Its id, by which gates refer to it.
  public let id: Bits128
  /// r.
  public let rank: Int
  /// α.
  public let alpha: Double
  /// Whether B·A is scaled with α/√r and not with α/r.
  public let isRankStabilised: Bool
  /// The linear layers that it changes, sorted by name.
  public let modules: [Module]
  let base: BaseDescription

  /// The word for every linear layer of every block.
  public static let allLinear = "all-linear"

  /// Plans an expert.
  ///
  /// - Parameters:
  ///   - name: Its name.
  ///   - id: Its id, where it was planned before; by default a new one.
  ///   - rank: r.
  ///   - alpha: α.
  ///   - isRankStabilised: Whether B·A is scaled with α/√r and not with α/r.
  ///   - targets: Names of linear layers, whole or their last components, or `all-linear`.
  ///   - base: The base it is for.
  /// - Throws: `ExpertError` with `invalid-name`, `no-such-target`, or `invalid-training` for a rank or an α
  ///   that cannot be; `FileError` if the system gives no random numbers.
  public init(
    _ name: String, id: Bits128? = nil, rank: Int, alpha: Double, isRankStabilised: Bool = false,
    targets: [String], on base: BaseDescription
  ) throws {
    try requireExpertName(name)
    guard (1...(1 << 16)).contains(rank), alpha.isFinite, alpha != 0, Float(alpha).isFinite else {
      throw ExpertError(
        .invalidTraining, path: base.name ?? "the base", name: "expert/" + name,
        found: "rank \(rank) and alpha \(alpha), and must have a rank of 1 to 65,536 and a finite alpha")
    }
    (self.name, self.rank, self.alpha, self.base) = (name, rank, alpha, base)
    self.isRankStabilised = isRankStabilised
    modules = try Self.resolve(targets, on: base)
    self.id = if let id { id } else { try Bits128.random() }
  }

  /// What B·A is multiplied with.
  public var scaling: Double { alpha / (isRankStabilised ? Double(rank).squareRoot() : Double(rank)) }

  /// The tensors that it needs values for, in the order of its modules: A is rank × input, B output × rank.
  public var tensors: [(name: String, shape: [Int])] {
    modules.flatMap { module in
      [
        (Self.name(ofA: module.name), [rank, module.inputFeatures]),
        (Self.name(ofB: module.name), [module.outputFeatures, rank]),
      ]
    }
  }

  /// The name of the factor A of a module.
  public static func name(ofA module: String) -> String { "\(PEFTTensorName.prefix)\(module).lora_A.weight" }
  /// The name of the factor B of a module.
  public static func name(ofB module: String) -> String { "\(PEFTTensorName.prefix)\(module).lora_B.weight" }

  private static func resolve(_ targets: [String], on base: BaseDescription) throws -> [Module] {
    let linear = base.linearModules
    var wanted: Set<ByteKey> = []
    for target in targets {
      let found = linear.filter { module in
        if target.hasSameBytes(as: allLinear) { return module.hasByteSuffix("_proj") }
        return module.hasSameBytes(as: target) || module.hasByteSuffix("." + target)
      }
      guard !target.isEmpty, !found.isEmpty else {
        let kinds = Set(linear.map { ByteKey(String($0.split(separator: ".").last ?? "")) })
        throw ExpertError(
          .noSuchTarget, path: base.name ?? "the base", name: target,
          found: closestName(to: target, among: kinds.map(\.text).sorted() + [allLinear] + linear))
      }
      wanted.formUnion(found.map { ByteKey($0) })
    }
    guard !wanted.isEmpty else {
      throw ExpertError(.noSuchTarget, path: base.name ?? "the base", name: "")
    }
    return wanted.sorted().compactMap { key in
      base.names.shape(key.text + ".weight").map {
        Module(name: key.text, inputFeatures: $0[1], outputFeatures: $0[0])
      }
    }
  }
}

extension BaseDescription {
  /// The linear layers that a LoRA can change: those of the blocks, and the head.
  public var linearModules: [String] {
    names.modules.filter { module in
      names.shape(module + ".weight")?.count == 2 && module != "model.embed_tokens"
    }
  }
}

public import LMoECore

/// What a gate is: a point in a product of choices (registry §5.3).
///
/// Of a score for each expert it makes the weights g that the experts' deltas are mixed with:
/// y = W₀·x + Σ gᵢ(x)·sᵢ·Bᵢ(Aᵢ·x). The values of a learned gate are in tensors of their own, one for each expert
/// and place (`StoredGate`).
public struct Gate: Hashable, Sendable {
  /// How an expert is scored.
  public enum Score: Hashable, Sendable {
    /// The same numbers for every token.
    case constant(Weights)
    /// w·x + b.
    case linear
    /// How like x is to a prototype.
    case prototype(Similarity)
  }

  /// The numbers of a constant gate.
  public enum Weights: Hashable, Sendable {
    /// Every routed member alike.
    case uniform
    /// As listed; a member that is not listed gets nothing.
    case given([Weight])
  }

  /// A number for an expert.
  public struct Weight: Hashable, Sendable {
    /// The expert's id.
    public let expert: Bits128
    /// The number, of any sign.
    public let value: Double

    /// Pairs them.
    public init(expert: Bits128, value: Double) {
      (self.expert, self.value) = (expert, value)
    }
  }

  /// How an input x and a prototype p are compared.
  public enum Similarity: String, CaseIterable, Hashable, Sendable {
    /// x·p.
    case dot
    /// |x·p|, for directions that have no sign.
    case absoluteDot = "absolute-dot"
    /// x·p / (‖x‖·‖p‖); 0 where one of them is 0.
    case cosine
  }

  /// What the gate looks at.
  public enum Input: String, CaseIterable, Hashable, Sendable {
    case none
    /// The input of the linear layer.
    case moduleInput = "module-input"
    /// The output of the layer's first norm.
    case blockNorm = "block-norm"
    /// The token's row of the embedding.
    case embedding
  }

  /// For what a decision is made.
  public enum Scope: String, CaseIterable, Hashable, Sendable {
    /// For each linear layer.
    case module
    /// For each layer of the model.
    case layer
    /// For the whole model.
    case global
  }

  /// Over which tokens scores are taken together.
  public enum Pooling: String, Hashable, Sendable {
    /// None: each token by itself.
    case token
  }

  /// How scores become weights.
  public enum Normaliser: Hashable, Sendable {
    /// The scores are the weights.
    case none
    /// Softmax over all who take part.
    case softmax
    /// Softmax over the k highest scores.
    case topKRenormalised(Int)
    /// Softmax over all, and of that the k highest.
    case topKRaw(Int)

    /// k, where there is one.
    public var k: Int? {
      switch self {
      case .none, .softmax: nil
      case .topKRenormalised(let k), .topKRaw(let k): k
      }
    }
  }

  /// Who takes part.
  public enum Members: Hashable, Sendable {
    /// Every expert of the bundle, routed; not the null expert.
    case all
    /// Those listed.
    case listed([Member])
  }

  /// An expert, and its part.
  public struct Member: Hashable, Sendable {
    /// The expert's id.
    public let expert: Bits128
    /// Its part.
    public let role: Role

    /// Pairs them.
    public init(expert: Bits128, role: Role = .routed) {
      (self.expert, self.role) = (expert, role)
    }
  }

  /// The part of a member.
  public enum Role: String, Hashable, Sendable {
    /// It is scored and weighted.
    case routed
    /// It has weight 1, and the others share theirs without it.
    case always
  }

  /// How an expert is scored.
  public var score: Score
  /// For what a decision is made.
  public var scope: Scope
  /// How scores become weights.
  public var normaliser: Normaliser
  /// What scores are divided by.
  public var temperature: Double
  /// Who takes part.
  public var members: Members

  /// Makes a gate of its choices.
  public init(
    _ score: Score, scope: Scope, normaliser: Normaliser, temperature: Double = 1, members: Members = .all
  ) {
    self.score = score
    self.scope = scope
    self.normaliser = normaliser
    self.temperature = temperature
    self.members = members
  }

  /// The gate that needs no training: every expert alike, for every token.
  public static let uniform = Gate(.constant(.uniform), scope: .global, normaliser: .softmax)

  /// The id of the expert that changes nothing: the bare base as a choice.
  public static let nullExpert = Bits128.zero
  /// The largest k.
  public static let largestK = 65_536
  /// What scores may be divided by: beyond these a score of any size would become 0 or infinite.
  public static let temperatures = 1e-6...1e6
}

extension Gate {
  /// What the gate looks at, which follows from its score and its scope.
  public var input: Input {
    guard isLearned else { return .none }
    return switch scope {
    case .module: .moduleInput
    case .layer: .blockNorm
    case .global: .embedding
    }
  }

  /// Over which tokens scores are taken together.
  public var pooling: Pooling { .token }

  /// Whether it has tensors: a row for each expert and place.
  public var isLearned: Bool { if case .constant = score { false } else { true } }

  /// The numbers in a row for an input of `width`: a prototype, or weights and the bias after them.
  public func rowCount(width: Int) -> Int { score == .linear ? width + 1 : width }
}

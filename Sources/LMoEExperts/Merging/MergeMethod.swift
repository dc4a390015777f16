/// How deltas are made one.
///
/// With wᵢ the weight of expert i and δᵢ = sᵢ·Bᵢ·Aᵢ (or what DoRA makes of the base):
public struct MergeMethod: Hashable, Sendable {
  /// The rule.
  public enum Kind: String, CaseIterable, Hashable, Sendable {
    /// Σ wᵢ·δᵢ by stacking the factors: exact, of rank Σ rᵢ.
    case cat
    /// The best approximation of Σ wᵢ·δᵢ of a rank.
    case svd
    /// Σ wᵢ·δᵢ, factored anew: exact, of no larger a rank than it has.
    case linear
    /// λ·Σ wᵢ·δᵢ, factored anew.
    case taskArithmetic = "task_arithmetic"
    /// Two deltas along the arc between them.
    case slerp
    /// The mean of the directions on the sphere, at the mean length.
    case karcher
    /// Small entries go; of the others those with the elected sign are averaged (Yadav et al., 2023).
    case ties
    /// Random entries go, the others are scaled up; Σ wᵢ·δᵢ (Yu et al., 2024).
    case dareLinear = "dare_linear"
    /// The same with the election of TIES.
    case dareTies = "dare_ties"
    /// Small entries go; Σ wᵢ·δᵢ.
    case magnitude
    /// Small entries go, and the largest; λ·Σ wᵢ·δᵢ (Davari and Belilovsky, 2023).
    case breadcrumbs
    /// Random entries go, small ones sooner than large ones of a row; then the election of TIES (Deep et al.,
    /// 2024).
    case della
    /// TIES on what the deltas are in the singular basis that they share (Stoica et al., 2024).
    case knots
  }

  /// Whose variant of a rule, where they differ.
  public enum Flavor: String, CaseIterable, Hashable, Sendable {
    /// As published: random dropping is made up for by 1/p; an election is by weighted sums, its mean weighted.
    case paper
    /// PEFT's rules for whole deltas (`ties_svd`, `dare_ties_svd`): elections by unweighted sums, divided by the
    /// number of those who agree.
    case peft
    /// mergekit's defaults: random dropping is made up for by keeping Σ|δ|; `dare_ties` sums and does not average.
    case mergekit
  }

  /// The rule.
  public var kind: Kind
  /// Whose variant.
  public var flavor = Flavor.paper
  /// ρ: the share of entries that stay.
  public var density = 0.5
  /// λ: what the result is multiplied with.
  public var lambda = 1.0
  /// γ: the share of the largest entries that go (breadcrumbs).
  public var gamma = 0.01
  /// ε: how far the chance to stay is from ρ for the smallest and the largest entry of a row (della).
  public var epsilon = 0.15
  /// The place between the two (slerp); by default the second's share of the weights.
  public var t: Double?
  /// What random choices follow from.
  public var seed: UInt64 = 0

  /// A rule with its usual numbers.
  public init(_ kind: Kind) { self.kind = kind }

  /// Whether the result is a weighted sum of the deltas, whatever the weights follow from.
  public var isLinear: Bool {
    switch kind {
    case .cat, .svd, .linear, .taskArithmetic, .slerp, .karcher: true
    default: false
    }
  }

  /// Whether it drops entries.
  public var usesDensity: Bool { !isLinear }
  /// Whether it is multiplied with λ.
  public var usesLambda: Bool { ![.cat, .svd, .linear, .slerp, .karcher].contains(kind) }
  /// Whether it draws numbers.
  public var isRandom: Bool { [.dareLinear, .dareTies, .della].contains(kind) }
  /// Whether the flavors differ.
  public var hasFlavors: Bool { [.ties, .dareLinear, .dareTies, .della].contains(kind) }

  /// Whether signs are elected.
  var elects: Bool { [.ties, .dareTies, .della, .knots].contains(kind) }
}

/// How large a rank a merged expert gets.
public enum RankChoice: Hashable, Sendable {
  /// What the method gives: exact where it can be, otherwise the largest rank that went in.
  case natural
  /// This one, for every module.
  case rank(Int)
  /// The smallest that holds this share of the energy (Σσ²) of a module.
  case energy(Double)
}

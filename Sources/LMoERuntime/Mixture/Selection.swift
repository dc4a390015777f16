/// Which experts of a bundle take part, and what weighs them.
public enum Selection: Hashable, Sendable {
  /// None: the base as it is.
  case base
  /// One, outright, with everything it changes.
  case expert(String)
  /// These, with these weights for every token: as given, of any sign.
  case weights([WeightedExpert])
  /// All, with equal weights that add up to one.
  case uniform
  /// Those that a gate of the bundle knows, weighed by it.
  case gate(String)

  /// An expert's name and weight.
  public struct WeightedExpert: Hashable, Sendable {
    /// Its name.
    public let name: String
    /// Its weight.
    public let weight: Double

    /// Pairs them.
    public init(_ name: String, _ weight: Double) { (self.name, self.weight) = (name, weight) }
  }
}

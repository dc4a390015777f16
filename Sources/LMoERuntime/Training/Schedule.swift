#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// How learning rates change over a run: up in a line, then along a curve to a part of the peak.
public struct Schedule: Hashable, Sendable {
  /// The curve after the warm-up.
  public enum Shape: String, CaseIterable, Hashable, Sendable {
    case constant
    case linear
    case cosine
  }

  /// The curve.
  public var shape: Shape
  /// The steps of the warm-up.
  public var warmup: Int
  /// All steps of the run, or those after which rates stay at the floor.
  public var total: Int
  /// What is left at the end, as a share of the peak.
  public var floor: Double

  /// Makes a schedule.
  public init(_ shape: Shape = .cosine, warmup: Int = 0, total: Int, floor: Double = 0) {
    (self.shape, self.warmup, self.total, self.floor) = (shape, warmup, total, floor)
  }

  /// The share of the peak at a step, counted from 0.
  ///
  /// (step + 1) / warmup first; then, with x from 0 to 1 over the rest, floor + (1 − floor)·(1 + cos πx) / 2, or
  /// floor + (1 − floor)·(1 − x), or 1.
  public func factor(at step: Int) -> Double {
    if step < warmup { return Double(step + 1) / Double(warmup) }
    let x = min(1, Double(step - warmup) / Double(max(1, total - warmup)))
    switch shape {
    case .constant: return 1
    case .linear: return floor + (1 - floor) * (1 - x)
    case .cosine: return floor + (1 - floor) * (1 + cos(.pi * x)) / 2
    }
  }
}

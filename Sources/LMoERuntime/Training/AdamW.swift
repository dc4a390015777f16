private import CLMoEKernels
import LMoECore

#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// The optimizer: Adam with decoupled weight decay (Loshchilov and Hutter), in the order of operations of
/// `torch.optim.AdamW`.
public final class AdamW {
  /// What stays the same over a run.
  public struct Settings: Hashable, Sendable {
    /// How much of the first moment is kept.
    public var beta1 = 0.9
    /// How much of the second moment is kept.
    public var beta2 = 0.999
    /// ε.
    public var epsilon = 1e-8
    /// What a weight loses each step, as a multiple of its rate.
    public var decay = 0.0
    /// The largest norm of all gradients together.
    ///
    /// They are scaled down to it; infinity is for any.
    public var clip = 1.0

    /// The usual ones.
    public init() {}
  }

  /// The peak rates of what is trained.
  public struct Rates: Hashable, Sendable {
    /// That of gates.
    public var gate: Double
    /// That of the factors A.
    public var a: Double
    /// That of the factors B.
    public var b: Double
    /// That of DoRA's magnitudes.
    public var magnitude: Double

    /// Puts them together; magnitudes go with A unless they have a rate of their own.
    public init(gate: Double, a: Double, b: Double, magnitude: Double? = nil) {
      (self.gate, self.a, self.b, self.magnitude) = (gate, a, b, magnitude ?? a)
    }

    subscript(role: Parameter.Role) -> Double {
      switch role {
      case .gate: gate
      case .a: a
      case .b: b
      case .magnitude: magnitude
      }
    }

    /// The rates times a factor.
    public static func * (rates: Rates, factor: Double) -> Rates {
      Rates(
        gate: rates.gate * factor, a: rates.a * factor, b: rates.b * factor,
        magnitude: rates.magnitude * factor)
    }
  }

  let settings: Settings
  let parameters: [Parameter]
  /// First and second moments, in the shapes of the parameters.
  let first: [OwnedRows]
  let second: [OwnedRows]
  /// Steps done.
  var count = 0
  private let compute: Compute

  init(_ parameters: [Parameter], settings: Settings, compute: Compute) {
    (self.parameters, self.settings, self.compute) = (parameters, settings, compute)
    first = parameters.map { OwnedRows($0.values.count, $0.values.width) }
    second = parameters.map { OwnedRows($0.values.count, $0.values.width) }
    for rows in first + second { rows.rows.clear() }
  }

  /// The norm of all gradients together; not finite if one of them is not.
  var gradientNorm: Double {
    let squares = Guarded([Double](repeating: 0, count: parameters.count))
    let parameters = parameters
    compute.pool.run(items: parameters.count) { index, _ in
      let gradient = parameters[index].gradient
      var isFinite: Int32 = 1
      let sum = unsafe lmoe_sum_squares(
        gradient.base, gradient.count * gradient.width, Weight.Kind.f32.code, &isFinite)
      squares.withValue { $0[index] = isFinite == 1 ? sum : .nan }
    }
    return squares.withValue { $0.reduce(0, +) }.squareRoot()
  }

  /// Changes the parameters.
  ///
  /// - Parameters:
  ///   - rates: The rates of this step.
  ///   - norm: That of the gradients, by which they are clipped.
  func step(_ rates: Rates, norm: Double) {
    count += 1
    // As clip_grad_norm_ has it.
    let scale = settings.clip.isFinite ? min(1, settings.clip / (norm + 1e-6)) : 1
    let (settings, count, parameters, first, second) = (settings, count, parameters, first, second)
    compute.pool.run(items: parameters.count) { index, _ in
      let parameter = parameters[index]
      var step = lmoe_adamw_step(
        rate: rates[parameter.role], beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
        decay: settings.decay, correction1: 1 - pow(settings.beta1, Double(count)),
        correction2: 1 - pow(settings.beta2, Double(count)), gradient_scale: scale)
      unsafe lmoe_adamw(
        parameter.values.base, first[index].rows.base, second[index].rows.base, parameter.gradient.base,
        parameter.count, &step)
    }
  }
}

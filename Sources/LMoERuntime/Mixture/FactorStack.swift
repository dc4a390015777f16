import LMoECore

/// One factor of all experts of a linear layer, stacked by ranks: Ā = [A₁; …; A_E], R × inputs, or
/// B̄ = [B₁ … B_E]ᵀ, R × outputs.
///
/// Where each expert's factor can be used where it is stored, the stack is not made before somebody asks for it.
final class FactorStack: Sendable {
  /// How it is made of what is stored; nil where it is there from the beginning.
  let plan: StackPlan?
  private let given: Weight?
  private let made = Guarded<Weight?>(nil)

  /// A stack that is there.
  init(_ whole: Weight) { (given, plan) = (whole, nil) }

  /// A stack that is made when it is asked for.
  init(_ plan: StackPlan) { (given, self.plan) = (nil, plan) }

  /// R.
  var rows: Int { given?.rows ?? plan?.rows ?? 0 }

  /// All of it, which stays in memory from now on.
  ///
  /// Training asks for it; who only goes forward gathers the factors layer by layer (`FactorMemory`).
  var whole: Weight {
    if let given { return given }
    return made.withValue { made in
      if let made { return made }
      let new = plan?.made() ?? Weight.made(rows: 0, columns: 0) { _ in }
      made = new
      return new
    }
  }
}

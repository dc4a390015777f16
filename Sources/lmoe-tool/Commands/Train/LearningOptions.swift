public import ArgumentParser
public import LMoERuntime

extension Schedule.Shape: ExpressibleByArgument {}

/// Options that say how to learn.
struct LearningOptions: ParsableArguments {
  @Option(name: .long, help: "The steps of the run.")
  var steps: Int?

  @Option(name: .long, help: "The tokens of the run.")
  var tokens: Int?

  @Option(name: .long, help: "How often all texts are read; once if neither --steps nor --tokens is given.")
  var epochs: Double?

  @Option(name: .long, help: "Tokens that go through the model at once.")
  var batchTokens = 2048

  @Option(name: .long, help: "Batches whose gradients make one step.")
  var accumulate = 1

  @Option(name: .long, help: "The learning rate of experts.")
  var rate = 5e-4

  @Option(name: .long, help: "That of their factors B; --rate if not given.")
  var bRate: Double?

  @Option(name: .long, help: "That of the gate; ten times --rate if not given.")
  var gateRate: Double?

  @Option(name: .long, help: "How rates fall: cosine, linear or constant.")
  var schedule = Schedule.Shape.cosine

  @Option(name: .long, help: "Steps in which rates rise; 3 in 100 if --steps is given, else 20.")
  var rateWarmup: Int?

  @Option(name: .long, help: "What is left of the rates at the end.")
  var rateFloor = 0.0

  @Option(name: .long, help: "Weight decay.")
  var decay = 0.0

  @Option(name: .long, help: "The largest norm of the gradients; 0 for any.")
  var clip = 1.0

  @Option(name: .long, help: "AdamW's first beta.")
  var beta1 = 0.9

  @Option(name: .long, help: "AdamW's second beta.")
  var beta2 = 0.999

  @Option(name: .long, help: "The share of the adapters' inputs that is dropped.")
  var dropout = 0.0

  @Option(name: .long, help: "Weight of the loss that spreads tokens evenly over the experts.")
  var balance = 0.0

  @Option(name: .long, help: "Weight of the loss that keeps the gate's scores small.")
  var zLoss = 0.0

  @Option(
    name: .long, help: "Weight of the loss that makes the gate sure of each token, and use all experts.")
  var mutualInformation = 0.0

  @Option(
    name: .long,
    help:
      "Steps in which texts whose kind is an expert's name go to that expert, and the gate learns to say so.")
  var warmupSteps = 0

  @Option(name: .long, help: "Stop after so many evaluations without a better one.")
  var patience: Int?

  @Option(name: .long, help: "What the order of the texts, dropout and all that is new follow from.")
  var seed: UInt64 = 0

  @Flag(
    name: .long,
    help: "Compute activations again on the way back instead of keeping them: less memory, a third slower.")
  var recompute = false

  func validate() throws {
    if [steps != nil, tokens != nil, epochs != nil].filter({ $0 }).count > 1 {
      throw ValidationError("Give one of --steps, --tokens and --epochs.")
    }
    func require(_ isGood: Bool, _ sentence: String) throws { if !isGood { throw ValidationError(sentence) } }
    try require((steps ?? 1) >= 1 && (tokens ?? 1) >= 1, "A run has at least one step and one token.")
    try require((epochs ?? 1) > 0 && (epochs ?? 1).isFinite, "--epochs is above 0.")
    try require(batchTokens >= 2 && batchTokens <= 1 << 20, "--batch-tokens is 2 to 1048576.")
    try require(accumulate >= 1, "--accumulate is at least 1.")
    for value in [rate, bRate ?? 0, gateRate ?? 0, decay, clip, balance, zLoss, mutualInformation, rateFloor]
    {
      try require(value >= 0 && value.isFinite, "Rates, decay, clip and weights of losses are 0 or above.")
    }
    try require((0..<1).contains(dropout), "--dropout is from 0 to below 1.")
    try require(
      (0..<1).contains(beta1) && (0..<1).contains(beta2), "--beta1 and --beta2 are from 0 to below 1.")
    try require((patience ?? 1) >= 1, "--patience is at least 1.")
    try require(warmupSteps >= 0 && (rateWarmup ?? 0) >= 0, "Steps of a warm-up are 0 or more.")
  }

  /// The same for the library.
  func settings(context: Int) -> TrainingSettings {
    let budget: TrainingSettings.Budget =
      steps.map { .steps($0) } ?? tokens.map { .tokens($0) } ?? .epochs(epochs ?? 1)
    var settings = TrainingSettings(
      budget: budget, rates: AdamW.Rates(gate: gateRate ?? 10 * rate, a: rate, b: bRate ?? rate),
      context: context)
    (settings.tokensPerPass, settings.passesPerStep) = (batchTokens, accumulate)
    (settings.shape, settings.rateFloor) = (schedule, rateFloor)
    settings.rateWarmup = rateWarmup ?? steps.map { $0 * 3 / 100 } ?? 20
    settings.optimizer.decay = decay
    settings.optimizer.clip = clip == 0 ? .infinity : clip
    (settings.optimizer.beta1, settings.optimizer.beta2) = (beta1, beta2)
    (settings.losses.balance, settings.losses.z) = (balance, zLoss)
    settings.losses.mutualInformation = mutualInformation
    (settings.dropout, settings.supervisedSteps) = (dropout, warmupSteps)
    (settings.patience, settings.seed) = (patience, seed)
    return settings
  }
}

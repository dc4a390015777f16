import LMoECore

/// Why a checkpoint or an adapter was not taken: a code and its facts.
public struct ExpertError: Error, Hashable, Sendable {
  /// The kind of error.
  public enum Code: String, Hashable, Sendable {
    // Directories and checkpoints.
    case notADirectory = "not-a-directory"
    case noWeights = "no-weights"
    case pickledWeights = "pickled-weights"
    case ambiguousWeights = "ambiguous-weights"
    case noConfiguration = "no-configuration"
    case invalidConfiguration = "invalid-configuration"
    case invalidIndex = "invalid-index"
    case missingShard = "missing-shard"
    case staleShard = "stale-shard"
    case missingTensor = "missing-tensor"
    case unlistedTensor = "unlisted-tensor"
    case duplicateTensor = "duplicate-tensor"
    // Models.
    case unsupportedModel = "unsupported-model"
    case unknownKey = "unknown-key"
    case quantizedModel = "quantized-model"
    case missingWeight = "missing-weight"
    case weightShape = "weight-shape"
    case unexpectedWeight = "unexpected-weight"
    case unsupportedElement = "unsupported-element"
    // Adapters.
    case unsupportedAdapter = "unsupported-adapter"
    case mutatedBase = "mutated-base"
    case unsupportedPattern = "unsupported-pattern"
    case emptyAdapter = "empty-adapter"
    case unknownTensor = "unknown-tensor"
    case unannouncedTensor = "unannounced-tensor"
    case duplicateFactor = "duplicate-factor"
    case missingFactor = "missing-factor"
    case invalidFactor = "invalid-factor"
    case rankMismatch = "rank-mismatch"
    case nonFinite = "non-finite"
    // Adapters on a base.
    case noBase = "no-base"
    case noSuchModule = "no-such-module"
    case noSuchTensor = "no-such-tensor"
    case taskHead = "task-head"
    case untargetedModule = "untargeted-module"
    case wrongKind = "wrong-kind"
    case shapeMismatch = "shape-mismatch"
    case resizedVocabulary = "resized-vocabulary"
    // Names and output.
    case invalidName = "invalid-name"
    case notExportable = "not-exportable"
    case outputExists = "output-exists"
    // Identity.
    case noExpertNamed = "no-expert-named"
    case invalidExpert = "invalid-expert"
    case tensorMismatch = "tensor-mismatch"
    case baseMismatch = "base-mismatch"
    case otherBase = "other-base"
    // Gates.
    case invalidGate = "invalid-gate"
    case unsupportedGate = "unsupported-gate"
    case severalGates = "several-gates"
    case gateExists = "gate-exists"
    case noExperts = "no-experts"
    case invalidText = "invalid-text"
    // Training.
    case changedMeanwhile = "changed-meanwhile"
    case invalidTraining = "invalid-training"
    case noSuchTarget = "no-such-target"
    // Quantizing.
    case notQuantizable = "not-quantizable"
    case quantizedAlready = "quantized-already"
    case weightsElsewhere = "weights-elsewhere"
    case nothingToQuantize = "nothing-to-quantize"
    case quantizedExport = "quantized-export"
    // Merging.
    case noLinearAlgebra = "no-linear-algebra"
    case linearAlgebra = "linear-algebra"
    case noStaticDelta = "no-static-delta"
    case mergeMismatch = "merge-mismatch"
    case invalidMerge = "invalid-merge"
    // Pruning.
    case invalidPruning = "invalid-pruning"
  }

  /// The kind of error.
  public let code: Code
  /// The file or directory.
  public let path: String
  /// The tensor, module, key or name it is about.
  public let name: String?
  /// What it had to be.
  public let expected: String?
  /// What it was.
  public let found: String?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String, name: String? = nil, expected: String? = nil, found: String? = nil
  ) {
    self.code = code
    self.path = path
    self.name = name
    self.expected = expected
    self.found = found
  }
}

import LMoECore
public import LMoEFormat

/// Why the state of a training run was not saved or cannot be used: a code and its facts.
public struct TrainingStateError: Error, Hashable, Sendable {
  /// The kind of error.
  public enum Code: String, Hashable, Sendable {
    case notAState = "not-a-training-state"
    case damaged
    case invalid
    case missingTensor = "missing-tensor"
    case unexpectedTensor = "unexpected-tensor"
    case shapeMismatch = "shape-mismatch"
    case notSaved = "not-saved"
    case uncertain
  }

  /// The kind of error.
  public let code: Code
  /// The file.
  public let path: String
  /// The checkpoint or tensor that it is about.
  public let name: String?
  /// What it had to be.
  public let expected: String?
  /// What it was.
  public let found: String?
  /// What the container said.
  public let cause: FormatError?

  /// Makes an error of its facts.
  public init(
    _ code: Code, path: String, name: String? = nil, expected: String? = nil, found: String? = nil,
    cause: FormatError? = nil
  ) {
    (self.code, self.path, self.name) = (code, path, name)
    (self.expected, self.found, self.cause) = (expected, found, cause)
  }

  /// What an error of the container means for a state that is read.
  init(reading path: String, _ error: FormatError) {
    let code: Code =
      switch error.code {
      case .notLMoE: .notAState
      default: .damaged
      }
    self.init(code, path: path, cause: error)
  }

  /// What an error of the container means for a state that is saved.
  init(saving path: String, _ error: FormatError) {
    self.init(error.code == .commitUncertain ? .uncertain : .notSaved, path: path, cause: error)
  }

  /// Whether the system failed to read or write, and not the file to be right.
  public var isInputOutput: Bool { cause?.code == .io || cause?.code == .commitUncertain }
}

extension TrainingStateError: CustomStringConvertible {
  /// One sentence that names the file, the tensor and the remedy.
  public var description: String {
    let path = path.printable
    let name = "\"\((name ?? "?").shortened.printable)\""
    let found = (found ?? "?").printable
    let expected = (expected ?? "?").printable
    let cause = self.cause.map { $0.file?.description ?? $0.description } ?? found
    switch code {
    case .notAState:
      return "\(path) is not the state of a training run; choose another path for it, or move that file away"
    case .damaged:
      return isInputOutput
        ? cause
        : "\(path) is the damaged state of a training run (\(cause)); remove it, and train on from the bundle as it is"
    case .invalid: return "\(path) is not a valid training state: \(found); remove it, and begin anew"
    case .missingTensor:
      return
        "\(path) has no tensor \(name), which this run trains; go on with the options that it was begun with, or begin anew with another file"
    case .unexpectedTensor:
      return
        "\(path) has a tensor \(name), which this run does not train; go on with the options that it was begun with, or begin anew with another file"
    case .shapeMismatch:
      return
        "\(path): the tensor \(name) has the shape \(found), and this run has \(expected); go on with the options that it was begun with, or begin anew with another file"
    case .notSaved:
      return "\(path): the state of the training was not saved, and what was there is as it was: \(cause)"
    case .uncertain:
      return
        "\(path): the last step of saving the state failed, so a power cut may still bring back what was there before: \(cause)"
    }
  }
}

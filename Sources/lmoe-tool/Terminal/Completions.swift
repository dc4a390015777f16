import ArgumentParser
import LMoEFormat

/// What the shell offers while a command is being typed: names that are in the bundle it is about.
enum Completions {
  /// The experts of the bundle on the command line.
  static let experts = CompletionKind.custom { arguments, _, _ in
    names(arguments) { bundle in bundle.banks(ofKind: "expert").map(\.shortName) }
  }

  /// The gates of the bundle on the command line.
  static let gates = CompletionKind.custom { arguments, _, _ in
    names(arguments) { bundle in bundle.banks(ofKind: "gate").map(\.shortName) }
  }

  /// The tensors of the bundle on the command line.
  static let tensors = CompletionKind.custom { arguments, _, _ in
    names(arguments) { bundle in
      try bundle.banks.flatMap { try bundle.manifest(of: $0).tensors.map(\.name) }
    }
  }

  /// Nothing where no argument is a bundle: a shell has no place for errors.
  private static func names(
    _ arguments: [String], _ list: (Bundle) throws -> [String]
  ) -> [String] {
    for argument in arguments.dropFirst() {
      guard let bundle = try? Bundle(path: argument) else { continue }
      return (try? list(bundle)) ?? []
    }
    return []
  }
}

import LMoECore
import LMoEExperts
import LMoEFormat

/// A base to compare with, a checkpoint or that of another bundle, and what the comparison says.
struct OtherBase {
  private enum Source {
    case checkpoint(HFCheckpoint)
    case bundle(Bundle)
  }

  /// The most tensors that are listed.
  private static let listed = 10

  private let path: String
  private let source: Source

  /// Opens it; nothing is read yet.
  init(_ path: String, in system: any FileSystem = PosixFileSystem()) throws {
    self.path = path
    source =
      system.kind(path) == .directory
      ? .checkpoint(try HFCheckpoint(path: path, in: system))
      : .bundle(try Bundle(path: path, in: system))
  }

  /// Compares the base of `bundle` with it; a checkpoint is hashed for that.
  func compare(with bundle: Bundle) throws -> BaseComparison {
    let first = try BaseIdentity(bundle)
    switch source {
    case .bundle(let other): return BaseComparison(first, try BaseIdentity(other))
    case .checkpoint(let checkpoint):
      let total = checkpoint.tensors.reduce(UInt64(0)) { $0 + UInt64($1.tensor.type.rawBytes) }
      let progress = ProgressBar("hash", total: total)
      defer { progress.finish() }
      return BaseComparison(first, try BaseIdentity(checkpoint) { progress.advance($0) })
    }
  }

  /// What the two configurations say otherwise, a line each; nothing where one is not known.
  func configurationDifferences(from bundle: Bundle) -> [String] {
    guard let own = try? bundle.baseDescription().model, let other = try? model else { return [] }
    return own.differences(from: other).map { "\($0.key) is \($0.own), there \($0.other)".printable }
  }

  private var model: ModelConfiguration {
    get throws {
      switch source {
      case .bundle(let bundle): try bundle.baseDescription().model
      case .checkpoint(let checkpoint): try checkpoint.resolved().names.model
      }
    }
  }

  func json(_ comparison: BaseComparison, configuration: [String]) -> JSON {
    let (first, second) = (comparison.first, comparison.second)
    return [
      "path": .string(path), "verdict": .string(comparison.verdict.rawValue),
      "content_id": .string(second.contentID.description),
      "source_id": second.sourceID.map(JSON.string) ?? .null,
      "same_content_id": .bool(first.contentID == second.contentID),
      "same_source_id": .bool(comparison.hasSameSource),
      "configuration_differences": .array(configuration.map(JSON.string)),
      "difference_count": .integer(comparison.differences.count),
      "differences": .array(
        comparison.differences.prefix(Self.listed).map {
          [
            "tensor": .string($0.name), "change": .string($0.change.rawValue),
            "first": $0.first.map(JSON.string) ?? .null, "second": $0.second.map(JSON.string) ?? .null,
          ]
        }),
    ]
  }

  func lines(_ comparison: BaseComparison) -> [String] {
    let (first, second) = (comparison.first, comparison.second)
    let place = "\(first.path): the base"
    switch comparison.verdict {
    case .sameBytes:
      let count = first.manifest.tensors.count
      return ["\(place) has the same bytes as \(path): \(count) tensors, id \(first.contentID)".printable]
    case .sameSource:
      let relation =
        second.isOriginal
        ? "this base is a quantized or cast form of it"
        : first.isOriginal
          ? "that one is a quantized or cast form of this base"
          : "both are quantized or cast forms of one original"
      return ["\(place) has the same source as \(path) (\(relation))".printable]
    case .different:
      let count = comparison.differences.count
      let total = Set(
        (Array(first.manifest.tensors) + Array(second.manifest.tensors)).map { ByteKey($0.name) }
      ).count
      var lines = ["\(place) is not the one in \(path): \(count) of \(total) tensors differ".printable]
      for item in comparison.differences.prefix(Self.listed) {
        lines.append("  \(item.name): \(describe(item, first.path))".printable)
      }
      if count > Self.listed { lines.append("  and \(count - Self.listed) more") }
      return lines
    }
  }

  private func describe(_ item: BaseComparison.Difference, _ file: String) -> String {
    let (first, second) = (item.first ?? "?", item.second ?? "?")
    return switch item.change {
    case .onlyInFirst: "only in \(file)"
    case .onlyInSecond: "only in \(path)"
    case .dtype, .shape: "\(item.change.rawValue) \(first), there \(second)"
    case .values: "values differ"
    }
  }
}

import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat

/// The command `lmoe-tool verify`.
struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check every byte of a bundle.",
    discussion: """
      Compares the hash of every stored chunk, manifest and card. With --full every tensor is decoded too and \
      its content hash compared. Exit status 1 if anything is damaged. The hashes detect damage, not forgery.

      With --against-base the base is also compared with that of a checkpoint, which is read and hashed, or of \
      another bundle: every tensor's name, type and content. Exit status 1 if it is not the same.
      """)

  @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
  var file: String

  @Flag(name: .long, help: "Decode everything and compare the content hashes too.")
  var full = false

  @Option(
    name: .long,
    help: ArgumentHelp("Compare the base with that of a checkpoint or bundle.", valueName: "dir|file"))
  var againstBase: String?

  @OptionGroup var read: ReadOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    // What is not there should be news before the file is read.
    let other = try againstBase.map { try OtherBase($0) }
    guard let bundle = try open() else { throw ExitCode.failure }
    if other != nil, bundle.root.bank("base") == nil { throw ExpertError(.noBase, path: file) }
    let total = bundle.banks.reduce(UInt64(0)) { $0 + (full ? $1.logicalBytes : $1.storedBytes) }
    let progress = ProgressBar("verify", total: total)
    let checked = Guarded<UInt64>(0)
    let damage = try bundle.verify(decoding: full) { bytes in
      progress.advance(bytes)
      checked.withValue { $0 += bytes }
    }
    progress.finish()
    let bytes = checked.withValue { $0 }
    let comparison = damage.isEmpty ? try other?.compare(with: bundle) : nil
    let configuration = comparison == nil ? [] : other?.configurationDifferences(from: bundle) ?? []
    let compared = comparison.flatMap { other?.json($0, configuration: configuration) }
    report.print(json(bundle, damage, checked: bytes, compared)) {
      for error in damage { Terminal.print("\(error)") }
      if bundle.damagedCopies > 0 {
        Terminal.print(
          "\(file.printable): \(bundle.damagedCopies) of 6 copies of header and superblocks damaged; "
            + "the others stand in, and \"compact\" writes all of them anew")
      }
      if let successor = bundle.successor {
        Terminal.print(
          "\(FormatError(.successorFound, path: file, expected: "\(bundle.generation)", found: "\(successor)"))"
        )
      }
      if damage.isEmpty && bundle.successor == nil {
        let entries = bundle.banks.reduce(0) { $0 + Int($1.tensorCount) }
        Terminal.print(
          "\(file.printable): \(bundle.isRecovered ? "recovered generation \(bundle.generation) is " : "")whole; \(bundle.banks.count) banks, \(entries) tensors, "
            + "\(formatted(bytes: bytes)) checked\(full ? " and decoded" : "")")
      }
      if let other, let comparison {
        for line in other.lines(comparison) { Terminal.print(line) }
        if !configuration.isEmpty {
          Terminal.print("\(file.printable): the configurations of the two bases differ:")
          for line in configuration { Terminal.print("  " + line) }
        }
      } else if let other = againstBase {
        Terminal.print("\(file.printable): not compared with \(other.printable), for it is damaged")
      }
    }
    if !damage.isEmpty || bundle.successor != nil || comparison?.verdict == .different
      || !configuration.isEmpty
    {
      throw ExitCode.failure
    }
  }

  private func json(
    _ bundle: Bundle, _ damage: [FormatError], checked bytes: UInt64, _ againstBase: JSON?
  ) -> JSON {
    var members: [(String, JSON)] = [
      ("schema", 1), ("path", .string(file)), ("ok", .bool(damage.isEmpty && bundle.successor == nil)),
      ("generation", .integer(bundle.generation)), ("recovered", .bool(bundle.isRecovered)),
      ("checked_bytes", .integer(bytes)), ("damaged_copies", .integer(bundle.damagedCopies)),
      ("successor", bundle.successor.map { .integer($0) } ?? .null),
      ("damage", .array(damage.map(Self.json))),
    ]
    // The base of a damaged file is not compared.
    if self.againstBase != nil { members.append(("against_base", againstBase ?? .null)) }
    return .object(members)
  }

  /// The bundle, or nil if it is too damaged to open, which is then reported.
  private func open() throws -> Bundle? {
    do {
      return try Bundle(path: file, options: read.bundleOptions)
    } catch {
      guard error.code.isDamage else { throw error }
      report.print([
        "schema": 1, "path": .string(file), "ok": false, "damage": .array([Self.json(error)]),
      ]) { Terminal.print("\(error)") }
      return nil
    }
  }

  static func json(_ error: FormatError) -> JSON {
    [
      "code": .string(error.code.rawValue), "bank": error.bank.map(JSON.string) ?? .null,
      "tensor": error.entry.map(JSON.string) ?? .null, "offset": error.offset.map { .integer($0) } ?? .null,
      "message": .string(error.description),
    ]
  }
}

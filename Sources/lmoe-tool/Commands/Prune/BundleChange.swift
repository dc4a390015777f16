import LMoECore
import LMoEExperts
import LMoEFormat

/// A change of a bundle: appended to it, or made in a copy.
struct BundleChange {
  /// The bundle as it was.
  let bundle: Bundle
  /// Where the change is made.
  let writer: BundleWriter

  /// Begins a change.
  ///
  /// - Parameters:
  ///   - output: The copy to make; nil to change the bundle itself.
  ///   - experts: Those that the copy is made without, for they change or leave.
  ///   - known: The bundle as it was looked at, which it has to be still.
  init(
    _ path: String, output: String?, without experts: [String], known: Bundle, _ options: BundleWriter.Options
  ) throws {
    guard let output else {
      writer = try BundleWriter(appendingTo: path, options: options)
      guard let base = writer.base else { throw FormatError(.writerClosed, path: path) }
      bundle = base
      do { try requireSame(as: known) } catch {
        writer.abort()
        throw error
      }
      return
    }
    bundle = known
    if PosixFileSystem().kind(output) != nil { throw FormatError(.alreadyExists, path: output) }
    writer = try BundleWriter(creating: output, options: options)
    let left = Set(experts.map { ByteKey("expert/" + $0) })
    do {
      for bank in bundle.banks where !left.contains(ByteKey(bank.name)) {
        try writer.addBank(
          bank.name, id: bank.id, card: try bundle.card(of: bank),
          entries: try bundle.entriesToCopy(of: bank),
          isExternal: bank.isExternal)
      }
    } catch {
      writer.abort()
      throw error
    }
  }

  private func requireSame(as known: Bundle) throws {
    guard bundle.root.generation == known.root.generation else {
      throw ExpertError(
        .invalidPruning, path: bundle.path, found: "it was changed by somebody else meanwhile; start again")
    }
  }
}

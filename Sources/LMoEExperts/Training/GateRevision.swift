import LMoECore
import LMoEFormat

/// A gate of a bundle with new numbers: what becomes of its card and its rows.
struct GateRevision {
  let card: JSON
  let entries: [NewEntry]
  /// What it is now.
  let gate: Gate
  private let replaced: Set<ByteKey>

  /// Brings a gate and new numbers of it together.
  ///
  /// - Throws: `ExpertError` with `invalid-gate`, `invalid-training` or `non-finite`, `FormatError`.
  init(_ bank: BankEntry, in bundle: Bundle, _ numbers: TrainedWeights.GateValues.Numbers, record: JSON)
    throws
  {
    let stored = try StoredGate(bank, in: bundle)
    func invalid(_ found: String) -> ExpertError {
      ExpertError(.invalidTraining, path: bundle.path, name: bank.name, found: found)
    }
    var card = stored.card.object ?? JSONObject()
    switch numbers {
    case .rows(let rows):
      guard stored.gate.isLearned else { throw invalid("rows, and the gate is constant") }
      entries = try NewGate(stored.gate, rows: rows, initialiser: "").entries(path: bundle.path)
    case .weights(let weights):
      guard case .constant(.given(let old)) = stored.gate.score else {
        throw invalid("weights, and the gate does not list any")
      }
      var merged = old
      for weight in weights {
        guard weight.value.isFinite, Float(weight.value).isFinite else {
          throw ExpertError(.nonFinite, path: bundle.path, name: bank.name, found: "\(weight.expert)")
        }
        if let place = merged.firstIndex(where: { $0.expert == weight.expert }) {
          merged[place] = weight
        } else {
          merged.append(weight)
        }
      }
      card["weights"] =
        Gate(
          .constant(.given(merged)), scope: stored.gate.scope, normaliser: stored.gate.normaliser
        ).card()["weights"]
      entries = []
    }
    replaced = Set(entries.map { ByteKey($0.name) })
    var provenance = card["provenance"]?.object ?? JSONObject()
    provenance["trained"] = record
    card["provenance"] = .object(provenance)
    self.card = .object(card)
    // What no reader would take is not written.
    gate = try Gate(card: self.card, name: bank.shortName, path: bundle.path)
  }

  /// Whether an entry stays as it is.
  func keeps(_ entry: Entry) -> Bool {
    entry.class == .document || !replaced.contains(ByteKey(entry.name))
  }
}

extension NewGate {
  /// The gate with a record of how it was trained since it was made.
  func trained(_ record: JSON) -> NewGate {
    var object = provenance.object ?? JSONObject()
    object["trained"] = record
    return NewGate(gate, rows: rows, provenance: .object(object), notes: notes)
  }
}

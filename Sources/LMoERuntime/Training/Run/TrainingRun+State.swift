public import LMoECore
public import LMoEExperts

extension TrainingRun {
  /// Saves where the run stands, so that it can go on from there bit for bit.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - card: What else it says; its step and counters are filled in.
  ///   - best: The values of the best evaluation, if there is a new one.
  ///   - keepsBest: Whether those in the file stay if there is none; they may be another run's.
  /// - Throws: `TrainingStateError`; the file is then what it was.
  public func save(
    to path: String, _ card: TrainingCard, best: Snapshot?, keepsBest: Bool = true,
    in system: any FileSystem = PosixFileSystem()
  ) throws {
    var card = card
    card.step = progress.step
    var run = card.run.object ?? JSONObject()
    run["progress"] = progress.json
    run["cursor"] = stream.cursor.json
    run["updates"] = .integer(optimizer.count)
    run["warnings"] = warnings.json
    card.run = .object(run)
    var tensors: [FloatTensor] = []
    for (index, parameter) in model.parameters.enumerated() {
      for (part, rows) in [
        (TrainingState.Part.value, parameter.values), (.firstMoment, optimizer.first[index].rows),
        (.secondMoment, optimizer.second[index].rows),
      ] {
        unsafe tensors.append(
          FloatTensor(
            part.name(of: parameter.name), shape: [rows.count, rows.width],
            borrowing: UnsafeBufferPointer(start: rows.base, count: rows.count * rows.width)))
      }
    }
    var kept = keepsBest ? TrainingState.Best.kept : .none
    if let best {
      let values = zip(model.parameters, best.values).map { parameter, values in
        FloatTensor(
          TrainingState.Part.value.name(of: parameter.name),
          shape: [parameter.values.count, parameter.values.width], values: values)
      }
      var card = card
      card.step = best.step
      kept = .new(card, values)
    }
    try withExtendedLifetime(model) {
      try TrainingState.save(card, tensors, best: kept, to: path, in: system)
    }
  }

  /// Goes on from where a run of the same plan, settings and data was saved.
  ///
  /// - Throws: `TrainingStateError` that names what does not fit; what restoring the stream throws.
  public func restore(_ state: TrainingState) throws {
    let run = state.last.card.run
    guard let progress = RunProgress(run["progress"]), let updates = run["updates"]?.int,
      let cursor = run["cursor"].flatMap({ TrainingStream.Cursor($0) })
    else {
      throw TrainingStateError(
        .invalid, path: state.path, found: "its card does not say how far the run came")
    }
    var slots: [FloatSlot] = []
    for (index, parameter) in model.parameters.enumerated() {
      for (part, rows) in [
        (TrainingState.Part.value, parameter.values), (.firstMoment, optimizer.first[index].rows),
        (.secondMoment, optimizer.second[index].rows),
      ] {
        unsafe slots.append(
          FloatSlot(
            part.name(of: parameter.name), shape: [rows.count, rows.width],
            memory: UnsafeMutableBufferPointer(start: rows.base, count: rows.count * rows.width)))
      }
    }
    try stream.restore(cursor)
    try withExtendedLifetime(model) { try state.last.read(into: slots, on: model.model.base.pool) }
    (self.progress, optimizer.count) = (progress, updates)
    warnings = TrainingWarnings(run["warnings"])
    model.refresh()
  }

  /// The values of the best evaluation of a saved run; nil if it had none.
  ///
  /// - Throws: `TrainingStateError`.
  public func best(of state: TrainingState) throws -> Snapshot? {
    guard let best = state.best else { return nil }
    return Snapshot(
      step: best.card.step,
      values: try model.parameters.map {
        try best.values(of: TrainingState.Part.value.name(of: $0.name), on: model.model.base.pool)
      })
  }
}

extension TrainingWarnings {
  /// As JSON: what has been said already.
  var json: JSON { ["collapsed": .bool(saysCollapsed), "lonely": .integer(lonely)] }

  /// Reads what `json` gives.
  init(_ json: JSON?) {
    saysCollapsed = json?["collapsed"]?.bool ?? false
    lonely = json?["lonely"]?.int ?? 0
  }
}
